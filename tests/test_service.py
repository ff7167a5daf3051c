"""Does the service answer what the classifier says, and every wrong input in one sentence?"""

import io
import json
import re
import socket
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import served
import tiny
import yaml
from PIL import Image

from diascope.errors import InputError
from diascope.explanation import CAUTION
from serving import records
from serving.packaged import Packaged

LIMIT = 36_000_000
Files = list[tuple[str, tuple[str, bytes]]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bentoml")
    served.store(folder, tiny.classifier(1.0).root)
    return folder


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[httpx.Client]:
    with served.served(home, DIASCOPE_MONITORING=str(home / "records")) as (client, _):
        yield client


@pytest.fixture(scope="module")
def guarded(home: Path) -> Iterator[httpx.Client]:
    settings = {"DIASCOPE_API_KEY": "geheim", "DIASCOPE_CAPACITY": "2", "DIASCOPE_MAX_FILES": "3"}
    with served.served(home, **settings, DIASCOPE_MONITORING="/proc/nowhere") as (client, _):
        client.headers["X-API-Key"] = "geheim"
        yield client


# Images


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(label: int = 0) -> Image.Image:
    return Image.fromarray(tiny.stripes(label, 3))


def png() -> bytes:
    return encoded(grey(), "PNG")


def rgba() -> bytes:
    image = grey().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return encoded(image, "PNG")


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(grey(), "JPEG", exif=exif)


def deep() -> bytes:
    return encoded(Image.fromarray(tiny.stripes(1, 4).astype(np.uint16) * 200), "PNG")


def animated() -> bytes:
    return encoded(grey(0), "GIF", save_all=True, append_images=[grey(1)])


def dicom() -> bytes:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    pixels = tiny.stripes(1, 5)
    dataset, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.file_meta = meta
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = pixels.tobytes()
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels by its header, and of a hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def large(side: int) -> bytes:
    return encoded(Image.new("L", (side, side)), "PNG", compress_level=1)


def one(data: bytes, name: str = "scan.png", field: str = "image") -> Files:
    return [(field, (name, data))]


def expected(data: bytes) -> dict[str, float]:
    return next(iter(tiny.classifier(1.0).answers([data]))).probabilities


def check_good(client: httpx.Client, data: bytes, name: str = "scan.png") -> dict:
    response = client.post("/predict", files=one(data, name))
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["probabilities"] == pytest.approx(expected(data), abs=1e-4)
    return answer


def sentence(response: httpx.Response) -> str:
    """The one sentence of an error, in the one shape."""
    content = response.json()
    assert list(content) == ["error"]
    assert re.fullmatch(r"[A-Z0-9a-z/].*[.]", content["error"])
    assert "\n" not in content["error"]
    return content["error"]


# Right answers

RIGHT: dict[str, Callable[[], bytes]] = {
    "PNG": png,
    "JPEG": lambda: encoded(grey(), "JPEG"),
    "BMP": lambda: encoded(grey(), "BMP"),
    "TIFF": lambda: encoded(grey(), "TIFF"),
    "WebP": lambda: encoded(grey(), "WEBP"),
    "16 bits": deep,
    "RGBA": rgba,
    "palette": lambda: encoded(grey().convert("RGB").quantize(16), "PNG"),
    "CMYK": lambda: encoded(grey().convert("CMYK"), "JPEG"),
    "animated GIF": animated,
    "rotated by EXIF": rotated,
    "one pixel": lambda: encoded(Image.new("RGB", (1, 1), "white"), "PNG"),
    "very long": lambda: encoded(Image.new("L", (20_000, 2), 90), "PNG"),
    "DICOM": dicom,
}


@pytest.mark.parametrize("kind", RIGHT)
def test_an_answer_is_what_the_classifier_says(client: httpx.Client, kind: str) -> None:
    answer = check_good(client, RIGHT[kind]())
    assert answer["label"] in tiny.CLASSES
    assert answer["probability"] == answer["probabilities"][answer["label"]]
    assert answer["decision"] in ("ok", "uncertain", "out_of_distribution")
    assert set(answer) >= {"reason", "threshold", "distance"}
    assert answer["model"] == served.NAME
    assert 0 < answer["milliseconds"] < 60_000


def test_content_counts_and_not_the_name(client: httpx.Client) -> None:
    check_good(client, encoded(grey(), "JPEG"), "scan.png")
    check_good(client, png(), "../../etc/passwd")
    check_good(client, png(), "Röntgen 体.png")


# Wrong input

CUT = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc\r\n--x'
WRONG: dict[str, tuple[int, str, Callable[[httpx.Client], httpx.Response]]] = {
    "text": (415, "scan.png is not an image", lambda c: c.post("/predict", files=one(b"just text"))),
    "truncated": (422, "damaged", lambda c: c.post("/predict", files=one(png()[:-200]))),
    "empty file": (400, "scan.png is empty", lambda c: c.post("/predict", files=one(b""))),
    "empty body": (400, "empty", lambda c: c.post("/predict")),
    "empty form": (
        400,
        "empty",
        lambda c: c.post("/predict", headers={"Content-Type": "multipart/form-data; boundary=x"}),
    ),
    "wrong field": (400, "'picture'", lambda c: c.post("/predict", files=one(png(), field="picture"))),
    "two images": (400, "/predict_batch", lambda c: c.post("/predict", files=one(png()) * 2)),
    "form that is none": (415, "multipart/form-data", lambda c: c.post("/predict", data={"image": "x"})),
    "JSON": (415, "application/json", lambda c: c.post("/predict", json={"image": "x"})),
    "raw image": (415, "image/png", lambda c: c.post("/predict", content=png(), headers={"Content-Type": "image/png"})),
    "no boundary": (
        400,
        "boundary",
        lambda c: c.post("/predict", content=b"x", headers={"Content-Type": "multipart/form-data"}),
    ),
    "cut form": (
        400,
        "ends in the middle",
        lambda c: c.post("/predict", content=CUT, headers={"Content-Type": "multipart/form-data; boundary=x"}),
    ),
    "100 megapixels": (413, f"{LIMIT:,}", lambda c: c.post("/predict", files=one(large(10_000)))),
    "bomb": (413, "60,000 x 60,000", lambda c: c.post("/predict", files=one(bomb()))),
    "50 MB": (413, "32 MB", lambda c: c.post("/predict", files=one(bytes(50_000_000)))),
    "50 MB in pieces": (413, "32 MB", lambda c: c.post("/predict", content=(bytes(10**6) for _ in range(50)))),
    "1,000 files": (413, "100", lambda c: c.post("/predict_batch", files=one(png(), field="images") * 1000)),
    "no files": (400, "'images'", lambda c: c.post("/predict_batch", files=one(png()))),
    "unknown class": (
        400,
        "'moon'",
        lambda c: c.post("/explain", files=one(png()), data={"class_name": "moon"}),
    ),
    "unknown part": (400, "'moon'", lambda c: c.post("/explain?part=moon", files=one(png()))),
    "raw, wrong type": (
        415,
        "image/png",
        lambda c: c.post("/invocations", content=png(), headers={"Content-Type": "text/csv"}),
    ),
    "raw, no type": (415, "image/png", lambda c: c.post("/invocations", content=png())),
    "raw, empty": (400, "empty", lambda c: c.post("/invocations", headers={"Content-Type": "image/png"})),
    "raw, no image": (
        415,
        "not an image",
        lambda c: c.post("/invocations", content=b"moon", headers={"Content-Type": "image/png"}),
    ),
    "wrong method": (405, "POST", lambda c: c.get("/predict")),
    "wrong address": (404, "/docs", lambda c: c.get("/etc/passwd")),
    "climbing address": (404, "/docs", lambda c: c.get("/%2e%2e/%2e%2e/etc/passwd")),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_input_has_its_answer_and_the_next_request_is_served(client: httpx.Client, kind: str) -> None:
    status, part, ask = WRONG[kind]
    response = ask(client)
    assert response.status_code == status, response.text
    assert part in sentence(response)
    check_good(client, png())


def test_an_image_just_within_the_limit_is_answered(client: httpx.Client) -> None:
    check_good(client, large(5_990))


def test_a_bad_file_does_not_spoil_the_others(client: httpx.Client) -> None:
    sent = {"a.png": png(), "b.png": b"text", "c.png": encoded(grey(1), "PNG"), "d.png": b"", "e.png": bomb()}
    files = [("images", (name, data)) for name, data in sent.items()]
    response = client.post("/predict_batch", files=files)
    assert response.status_code == 200
    answers = response.json()["answers"]
    assert [answer["file"] for answer in answers] == list(sent)
    assert [answer.get("status") for answer in answers] == [None, 415, None, 400, 413]
    for answer in answers:
        if "error" in answer:
            assert set(answer) == {"file", "error", "status"}
            assert answer["file"] in answer["error"]
        else:
            assert answer["probabilities"] == pytest.approx(expected(sent[answer["file"]]), abs=1e-4)
    assert response.json()["model"] == served.NAME


def test_many_files_come_back_in_order(client: httpx.Client) -> None:
    shades = [encoded(Image.new("L", (30 + 40 * (i % 3), 30), 5 * i), "PNG") for i in range(40)]
    files = [("images", (f"{i}.png", data)) for i, data in enumerate(shades)]
    answers = client.post("/predict_batch", files=files).json()["answers"]
    assert [answer["file"] for answer in answers] == [f"{i}.png" for i in range(40)]
    for answer, data in zip(answers, shades, strict=True):
        assert answer["probabilities"] == pytest.approx(expected(data), abs=1e-4)


# The other calls


def test_an_explanation_is_a_picture_with_its_caution(client: httpx.Client) -> None:
    drawn = {}
    for name in tiny.CLASSES:
        response = client.post("/explain", files=one(png()), data={"class_name": name})
        assert response.status_code == 200
        assert response.headers["content-type"] == "image/png"
        assert response.headers["x-caution"] == CAUTION
        drawn[name] = response.content
    assert len(set(drawn.values())) == 2, "each class has its own map"
    label = check_good(client, png())["label"]
    assert client.post("/explain", files=one(png())).content == drawn[label]
    image = Image.open(io.BytesIO(client.post("/explain?part=map", files=one(png())).content))
    assert (image.has_transparency_data, image.convert("RGBA").size) == (True, grey().size)


def test_sagemaker(client: httpx.Client) -> None:
    assert client.get("/ping").status_code == 200
    for kind, data in {"image/png": png(), "application/dicom": dicom(), "image/jpeg; q=1": rotated()}.items():
        response = client.post("/invocations", content=data, headers={"Content-Type": kind})
        assert response.status_code == 200
        assert response.json()["probabilities"] == pytest.approx(expected(data), abs=1e-4)


def test_the_card_and_health(client: httpx.Client) -> None:
    assert client.get("/model").json() == served.CARD
    assert client.get("/card").headers["content-type"].startswith("text/html")
    assert client.get("/livez").status_code == client.get("/readyz").status_code == 200


def test_pages_carry_security_headers_and_are_not_sent_twice(client: httpx.Client) -> None:
    for path in ("/", "/page.css", "/page.js", "/docs", "/card"):
        response = client.get(path)
        assert response.status_code == 200, path
        policy = response.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "script-src" not in policy, "scripts come from here alone"
        assert "frame-ancestors 'none'" in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        again = client.get(path, headers={"If-None-Match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert "unsafe-inline" not in client.get("/").headers["content-security-policy"]


def test_answers_are_not_kept_by_anybody(client: httpx.Client) -> None:
    for response in (client.post("/predict", files=one(png())), client.post("/predict"), client.get("/nothing")):
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"


def test_the_api_is_described_without_outside_resources(client: httpx.Client) -> None:
    page = client.get("/docs").text
    for source in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert "//" not in source
        assert client.get(f"/{source}").status_code == 200
    document = client.get("/docs.json").json()
    assert set(document["paths"]) >= {"/predict", "/predict_batch", "/explain", "/invocations", "/ping", "/model"}
    assert set(document["paths"]) >= {"/card", "/livez", "/readyz", "/metrics"}
    predict = document["paths"]["/predict"]["post"]
    assert "image" in predict["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert set(predict["responses"]) == {"200", "400", "401", "408", "413", "415", "422", "503"}
    example = predict["responses"]["200"]["content"]["application/json"]["example"]
    assert set(example) == set(check_good(client, png()))
    names = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document))
    assert set(names) <= set(document["components"]["schemas"])


def metric(client: httpx.Client, name: str, **labels: str) -> float:
    total = 0.0
    for line in client.get("/metrics").text.splitlines():
        found = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line)
        if found and found[1] == name and all(f'{key}="{value}"' in found[2] for key, value in labels.items()):
            total += float(found[3])
    return total


def test_predictions_and_problems_are_counted(client: httpx.Client) -> None:
    label = check_good(client, png())["label"]

    def figures() -> list[float]:
        return [
            metric(client, "diascope_predictions_total", label=label, decision="ok", model="tiny", version="7"),
            metric(client, "diascope_input_problems_total", kind="damaged"),
            metric(client, "diascope_input_problems_total", kind="not_an_image"),
            metric(client, "diascope_stage_seconds_count", stage="network"),
            metric(client, "bentoml_service_request_total", endpoint="/predict", http_response_code="200"),
        ]

    before = figures()
    check_good(client, png())
    client.post("/predict", files=one(png()[:-200]))
    client.post("/predict_batch", files=one(b"x", field="images") + one(png(), field="images"))
    assert np.subtract(figures(), before).tolist() == [2, 1, 1, 2, 1]


def test_unknown_addresses_leave_no_trace_in_the_figures(client: httpx.Client) -> None:
    client.get("/made-up-address")
    assert "made-up-address" not in client.get("/metrics").text


def test_predictions_are_recorded_without_pixels_and_names(client: httpx.Client, home: Path) -> None:
    answer = check_good(client, png(), "Jane-Doe-1950.png")
    until = time.monotonic() + 10
    while not (lines := [line for path in home.glob("records/*/data/*.log") for line in path.open()]):
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(0.3)
    lines = [line for path in home.glob("records/*/data/*.log") for line in path.open()]
    assert not any("Jane" in line for line in lines)
    record = json.loads(lines[-1])
    assert (record["width"], record["height"], record["format"], record["bytes"]) == (48, 40, "PNG", len(png()))
    assert (record["label"], record["decision"], record["model"]) == (answer["label"], answer["decision"], "tiny:7")
    assert record["probabilities"] == pytest.approx(list(answer["probabilities"].values()), abs=1e-6)
    pixels = tiny.classifier(1.0).pixels(png())
    assert record["brightness"] == pytest.approx(pixels.mean(), abs=10)
    assert record["contrast"] == pytest.approx(pixels.std(), abs=10)
    assert max(map(len, lines)) < 1000


# Load


def test_clients_that_hang_or_leave_cost_nothing(guarded: httpx.Client) -> None:
    """Ten of them, where two are the capacity."""
    address = (guarded.base_url.host, guarded.base_url.port)
    head = (
        b"POST /predict HTTP/1.1\r\nHost: x\r\nX-API-Key: geheim\r\nContent-Length: 5000\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )
    hanging = [socket.create_connection(address) for _ in range(10)]
    for each in hanging:
        each.sendall(head)
    for each in hanging[:5]:
        each.close()
    for _ in range(3):
        check_good(guarded, png())
    for each in hanging[5:]:
        each.close()
    check_good(guarded, png())


def test_past_its_capacity_it_says_so_at_once_and_recovers(guarded: httpx.Client) -> None:
    heavy = large(5_900)

    def ask(_: int) -> tuple[int, float, httpx.Response]:
        start = time.monotonic()
        response = httpx.post(
            f"{guarded.base_url}/predict", files=one(heavy), headers=guarded.headers, timeout=60, trust_env=False
        )
        return response.status_code, time.monotonic() - start, response

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    refused = [(seconds, response) for status, seconds, response in answers if status == 503]
    taken = [seconds for status, seconds, _ in answers if status == 200]
    assert len(refused) + len(taken) == 8
    assert len(taken) >= 2
    assert refused
    assert all(response.headers["retry-after"] == "1" for _, response in refused)
    assert "busy" in sentence(refused[0][1])
    assert min(seconds for seconds, _ in refused) < max(taken)
    check_good(guarded, png())


def test_more_files_than_accepted(guarded: httpx.Client) -> None:
    assert guarded.post("/predict_batch", files=one(png(), field="images") * 3).status_code == 200
    response = guarded.post("/predict_batch", files=one(png(), field="images") * 4)
    assert response.status_code == 413
    assert "4 files, more than the 3" in sentence(response)


def test_memory_comes_back_after_large_images(client: httpx.Client) -> None:
    def megabytes() -> float:
        port = client.base_url.port
        workers = [
            process
            for process in psutil.process_iter(["cmdline"])
            if "_bentoml_impl.worker.service" in " ".join(process.info["cmdline"] or [])
            and any(f"--port {port}" in " ".join(parent.cmdline()) for parent in process.parents())
        ]
        assert workers
        return sum(worker.memory_info().rss for worker in workers) / 1e6

    image = encoded(Image.new("RGBA", (5_900, 5_900), (9, 9, 9, 200)), "PNG", compress_level=1)
    check_good(client, png())
    before = megabytes()
    for _ in range(3):
        assert client.post("/predict", files=one(image)).status_code == 200
        client.post("/predict", files=one(bytes(20_000_000)))
    assert megabytes() < before + 100


# Access


@pytest.mark.parametrize("path", ["/predict", "/predict_batch", "/explain", "/invocations"])
def test_predictions_need_the_key(guarded: httpx.Client, path: str) -> None:
    address = f"{guarded.base_url}{path}"
    files = one(png(), field="images" if path == "/predict_batch" else "image")
    for headers in ({}, {"X-API-Key": "gehei"}, {"X-API-Key": ""}, {"Authorization": "Basic geheim"}):
        response = httpx.post(address, files=files, headers=headers, trust_env=False)
        assert response.status_code == 401
        assert "X-API-Key" in sentence(response)
        assert response.headers["www-authenticate"] == "Bearer"
    asked = httpx.post(address, files=files, headers={"Authorization": "bearer geheim"}, trust_env=False)
    assert asked.status_code in (200, 415)  # /invocations takes no form


@pytest.mark.parametrize("path", ["/", "/model", "/card", "/ping", "/livez", "/readyz", "/docs"])
def test_pages_need_no_key(guarded: httpx.Client, path: str) -> None:
    assert httpx.get(f"{guarded.base_url}{path}", trust_env=False).status_code == 200


def test_records_do_not_fill_the_disk(tmp_path: Path) -> None:
    described = yaml.safe_load(records.ROTATION.read_text().format(data_filename="data", schema_filename="schema"))
    for handler in described["handlers"].values():
        assert handler["class"] == "logging.handlers.RotatingFileHandler"
        assert 0 < handler["maxBytes"] * (handler["backupCount"] + 1) <= 100_000_000
        assert handler["backupCount"] > 0  # without, nothing is rotated


def test_it_serves_where_nothing_can_be_recorded(guarded: httpx.Client, home: Path) -> None:
    for _ in range(3):
        check_good(guarded, png())
    log = max(home.glob("log-*.txt"), key=lambda path: path.stat().st_mtime).read_text()
    assert log.count("Predictions are not recorded in /proc/nowhere") == 1


# Starting and stopping


def test_it_finishes_what_it_holds_when_it_is_stopped(home: Path) -> None:
    with served.served(home) as (client, process), ThreadPoolExecutor(2) as pool:
        hanging = socket.create_connection((client.base_url.host, client.base_url.port))
        hanging.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nx")
        heavy = pool.submit(client.post, "/predict", files=one(large(5_900)))
        time.sleep(0.15)
        start = time.monotonic()
        process.terminate()
        assert heavy.result().status_code == 200
        assert process.wait(20) == 0
        assert time.monotonic() - start < 5
        assert b" 408 " in hanging.recv(1000)
        hanging.close()


def refuses(home: Path, **settings: str) -> str:
    """What it says when it does not start."""
    log = home / "refused.txt"
    process = served.start(home, served.free_port(), log, **settings)
    try:
        assert process.wait(60) != 0
    except subprocess.TimeoutExpired:
        served.stop(process)
        raise
    return log.read_text()


def test_it_does_not_start_without_a_model(tmp_path: Path) -> None:
    said = refuses(tmp_path)
    assert "There is no model diascope:latest in BentoML's store: run `python run.py --deployment`." in said
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ["model.bin", "model.xml", "metadata.json", "card.html"])
def test_it_does_not_start_with_a_changed_file(tmp_path: Path, name: str) -> None:
    folder = served.store(tmp_path, tiny.classifier(1.0).root)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    said = refuses(tmp_path)
    assert f"{folder / name} is missing or was changed" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("content", [b"{", b"{}", b'{"model": 1}', b"\xff\xfe"])
def test_it_does_not_start_with_a_card_that_is_none(tmp_path: Path, content: bytes) -> None:
    classifier = tiny.classifier(1.0).root
    for name in ("model.xml", "model.bin", "metadata.json"):
        (tmp_path / name).write_bytes((classifier / name).read_bytes())
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(InputError, match=f"{tmp_path / 'card.json'} is not a model card"):
        Packaged(tmp_path).verify()


def test_it_does_not_start_with_a_limit_that_is_none(tmp_path: Path) -> None:
    said = refuses(tmp_path, DIASCOPE_MAX_PIXELS="many")
    assert "DIASCOPE_MAX_PIXELS is 'many': give a number above 0" in said
