"""Which image belongs to which class, split and patient?"""

import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from diascope.config import AnnotationColumns, Annotations, DatasetConfig
from diascope.errors import InputError
from diascope.layouts import read_layout
from diascope.records import Layout, split_of


def plant(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def read(root: Path, **settings: object) -> Layout:
    return read_layout(root, DatasetConfig.model_validate({"source": str(root), **settings}))


def where(layout: Layout) -> dict[str, tuple[str, str]]:
    return {record.name: (record.split, record.label) for record in layout.records}


def test_class_folders(tmp_path: Path) -> None:
    layout = read(plant(tmp_path, "yes/b.png", "yes/a.png", "no/1 no.jpg"))
    assert layout.kind == "class_folders"
    assert layout.class_names == ("no", "yes")
    assert [record.name for record in layout.records] == ["no/1 no.jpg", "yes/a.png", "yes/b.png"]
    assert {record.split for record in layout.records} == {""}
    assert layout.records[0].path == tmp_path / "no" / "1 no.jpg"
    assert layout.notices == []


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "valid", "test"),
        ("Training", "Validation", "Testing"),
        ("TRAIN", "VAL", "TEST"),
        ("train_set", "dev-set", "test set"),
        ("seg_train", "seg_val", "seg_test"),
        ("trainset", "valid", "testset"),
    ],
)
@pytest.mark.parametrize("wrapper", ["", "Data/", "archive/Data/"])
def test_split_folders_in_any_spelling(tmp_path: Path, train: str, validation: str, test: str, wrapper: str) -> None:
    places = {train: "train", validation: "validation", test: "test"}
    names = {f"{wrapper}{folder}/{label}/1.png": (split, label) for folder, split in places.items() for label in "ab"}
    layout = read(plant(tmp_path, *names))
    assert layout.kind == "split_folders"
    assert where(layout) == names


@pytest.mark.parametrize("word", ["normal", "testis", "test_positive", "trained", "covid", "", "data", "set", "valley"])
def test_other_words_are_no_split(word: str) -> None:
    assert split_of(word) is None


def test_split_folders_that_repeat_inside_themselves(tmp_path: Path) -> None:
    layout = read(plant(tmp_path, "train/train/a/1.png", "train/train/b/1.png", "test/images/a/1.png"))
    assert where(layout)["train/train/a/1.png"] == ("train", "a")
    assert where(layout)["test/images/a/1.png"] == ("test", "a")


def test_split_folders_inside_class_folders(tmp_path: Path) -> None:
    layout = read(plant(tmp_path, "covid/train/1.png", "covid/test/2.png", "flu/train/x/3.png", "flu/test/4.png"))
    assert where(layout) == {
        "covid/train/1.png": ("train", "covid"),
        "covid/test/2.png": ("test", "covid"),
        "flu/train/x/3.png": ("train", "flu"),
        "flu/test/4.png": ("test", "flu"),
    }


def test_only_a_training_folder(tmp_path: Path) -> None:
    layout = read(plant(tmp_path, "train/a/1.png", "train/b/1.png"))
    assert layout.kind == "split_folders"
    assert Counter(record.split for record in layout.records) == {"train": 2}


def test_a_suffix_between_splits_is_matched_with_a_notice(tmp_path: Path) -> None:
    layout = read(
        plant(
            tmp_path,
            *("train/adenocarcinoma_left.lower.lobe_T2/1.png", "train/Large Cell_IIIa/1.png", "train/Normal/1.png"),
            *("valid/adenocarcinoma_left.lower.lobe_T2/2.png", "valid/Large Cell_IIIa/2.png", "valid/Normal/2.png"),
            *("test/adenocarcinoma/3.png", "test/large.cell/3.png", "test/normal/3.png"),
        )
    )
    assert layout.class_names == ("Normal", "adenocarcinoma", "large.cell")
    assert Counter(record.label for record in layout.records) == dict.fromkeys(layout.class_names, 3)
    (notice,) = layout.notices
    assert "'adenocarcinoma_left.lower.lobe_T2' as 'adenocarcinoma'" in notice
    assert "'normal' as 'Normal'" in notice


@pytest.mark.parametrize(
    "names",
    [
        ("train/tumour/1.png", "train/tumour_benign/1.png", "test/tumour/2.png", "test/tumour_benign/2.png"),
        ("train/tumour_left/1.png", "train/tumour_right/1.png", "test/tumour/2.png", "test/other/2.png"),
        ("train/adeno/1.png", "train/b/1.png", "test/adenocarcinoma/2.png", "test/b/2.png"),
    ],
)
def test_names_that_may_be_different_classes_are_not_matched(tmp_path: Path, names: tuple[str, ...]) -> None:
    layout = read(plant(tmp_path, *names))
    assert set(layout.class_names) == {name.split("/")[1] for name in names}
    assert layout.notices == []


def test_class_map_renames_and_merges(tmp_path: Path) -> None:
    root = plant(tmp_path, "train/0/1.png", "train/1/1.png", "train/2/1.png", "test/healthy/1.png", "test/ill/1.png")
    layout = read(root, class_map={"0": "healthy", "1": "ill", "2": "ill"})
    assert layout.class_names == ("healthy", "ill")
    assert where(layout)["train/2/1.png"] == ("train", "ill")
    with pytest.raises(InputError, match=r"'helthy'.*nearest is 'healthy'"):
        read(root, class_map={"helthy": "ill"})


def test_what_is_no_data_is_left_out(tmp_path: Path) -> None:
    layout = read(
        plant(
            tmp_path,
            *("a/1.png", "b/1.png", "__MACOSX/a/._1.png", "a/.DS_Store", "b/Thumbs.db", ".git/config", "a/desktop.ini"),
            *("README", "a/README.md", "labels.csv", "b/notes.txt", "b/info.json"),
        )
    )
    assert sorted(where(layout)) == ["a/1.png", "b/1.png"]
    (notice,) = layout.notices
    assert notice.startswith("5 files of text left out: ")
    assert "'labels.csv'" in notice


def test_what_may_be_an_image_stays_for_the_checks(tmp_path: Path) -> None:
    layout = read(plant(tmp_path, "a/1.png", "a/movie.mp4", "b/IM0001", "b/1.2.840.113"))
    assert sorted(where(layout)) == ["a/1.png", "a/movie.mp4", "b/1.2.840.113", "b/IM0001"]


def test_images_outside_class_folders_are_named(tmp_path: Path) -> None:
    layout = read(plant(tmp_path, "a/1.png", "b/1.png", "overview.png"))
    assert len(layout.records) == 2
    assert "'overview.png'" in layout.notices[0]
    layout = read(plant(tmp_path / "s", "train/a/1.png", "train/b/1.png", "train/x.png", "masks/a/1.png", "y.png"))
    assert len(layout.records) == 2
    assert all(any(name in notice for notice in layout.notices) for name in ("'train/x.png'", "'masks'", "'y.png'"))


def test_the_first_level_is_the_class_and_patients_are_not_guessed(tmp_path: Path) -> None:
    layout = read(plant(tmp_path, "benign/p1/1.png", "benign/p2/1.png", "malignant/p3/deep/1.png"))
    assert layout.class_names == ("benign", "malignant")
    assert {record.patient for record in layout.records} == {""}
    assert "'benign/p1'" in layout.notices[0]


def test_segmentation_masks_are_no_images_of_a_class(tmp_path: Path) -> None:
    layout = read(
        plant(
            tmp_path,
            *("benign/benign (1).png", "benign/benign (1)_mask.png", "benign/benign (1)_mask_1.png"),
            *("normal/images/1.png", "normal/masks/1.png", "normal/lone_mask.png"),
        )
    )
    assert sorted(where(layout)) == ["benign/benign (1).png", "normal/images/1.png", "normal/lone_mask.png"]
    assert any("3 files left out that look like segmentation masks" in notice for notice in layout.notices)


def test_classes_may_be_called_mask(tmp_path: Path) -> None:
    assert read(plant(tmp_path, "mask/1.png", "no_mask/1.png")).class_names == ("mask", "no_mask")


def test_a_second_copy_of_all_classes_is_left_out(tmp_path: Path) -> None:
    layout = read(
        plant(tmp_path, "yes/1.png", "no/1.png", "brain_tumor_dataset/yes/1.png", "brain_tumor_dataset/no/1.png")
    )
    assert layout.class_names == ("no", "yes")
    assert "'brain_tumor_dataset'" in layout.notices[0]


def test_an_empty_class_folder_is_a_class(tmp_path: Path) -> None:
    plant(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "c").mkdir()
    assert read(tmp_path).class_names == ("a", "b", "c")


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    plant(tmp_path, "a/1.png", "b/1.png")
    os.symlink(tmp_path, tmp_path / "a" / "up")
    assert len(read(tmp_path).records) == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "there is no image in"),
        (("README.md",), "there is no image in"),
        (("1.png", "2.png"), "no class folders.*dataset.annotations"),
        (("yes/1.png", "yes/2.png"), "only one class, 'yes'"),
        (("train/yes/1.png", "test/yes/2.png"), "only one class, 'yes'"),
        (("test/yes/1.png", "test/no/2.png"), "only a folder 'test'.*add the training split"),
        (("train/a/1.png", "Training/b/1.png"), "'Training', 'train' all look like the train split"),
    ],
)
def test_wrong_folders_are_refused_in_one_sentence(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(plant(tmp_path, *names))


@pytest.mark.parametrize("name", [b"b/caf\xe9.png", b"caf\xe9/1.png"])
def test_a_name_that_is_no_utf8_is_refused_in_one_sentence(tmp_path: Path, name: bytes) -> None:
    plant(tmp_path, "a/1.png", "b/1.png", os.fsdecode(name))
    with pytest.raises(InputError, match=r"^the name of '.*caf\\udce9.*' is not UTF-8: rename"):
        read(tmp_path)


def test_a_folder_that_cannot_be_listed_is_not_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "a/1.png", "b/1.png", "secret/1.png")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"folder '.*secret' cannot be read: Permission denied"):
        read(tmp_path)


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no folder .*gone"):
        read(tmp_path / "gone")


def test_the_layout_may_be_demanded(tmp_path: Path) -> None:
    plant(tmp_path, "train/1.png", "test/1.png")
    layout = read(tmp_path, layout="class_folders")
    assert layout.class_names == ("test", "train")
    with pytest.raises(InputError, match="no split folders"):
        read(plant(tmp_path / "other", "a/1.png", "b/1.png"), layout="split_folders")


def test_patients_from_file_names(tmp_path: Path) -> None:
    root = plant(tmp_path, "a/P12_s1.png", "a/P12_s2.png", "b/P7_s1.png")
    layout = read(root, patient_pattern=r"^P(\d+)_")
    assert [record.patient for record in layout.records] == ["12", "12", "7"]
    plant(tmp_path / "nested", "a/p1/1.png", "b/p2/1.png")
    layout = read(tmp_path / "nested", patient_pattern=r"/(p\d+)/")
    assert [record.patient for record in layout.records] == ["p1", "p2"]


def test_a_file_without_a_patient_in_its_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"finds no patient.*'b/other.png'"):
        read(plant(tmp_path, "a/P1_s1.png", "b/zzz.png", "b/other.png"), patient_pattern=r"P(\d+)_s")


TABLE = "file,label,split,patient\nimg/1.png,yes,Training,p1\n2,no,VAL,p2\n3.png,no,test,\n"


def annotated(root: Path, table: str = TABLE, images: str = "pictures", **columns: str) -> Layout:
    plant(root, f"{images}/img/1.png", f"{images}/2.png", f"{images}/3.png")
    (root / "labels.csv").write_text(table, encoding="utf-8")
    annotations = Annotations(file="labels.csv", images=images, columns=AnnotationColumns(**columns))
    return read(root, annotations=annotations.model_dump())


@pytest.mark.parametrize("wrapper", ["", "Data"])
def test_a_table_of_annotations(tmp_path: Path, wrapper: str) -> None:
    (tmp_path / wrapper).mkdir(exist_ok=True)
    annotated(tmp_path / wrapper)
    layout = read(
        tmp_path,
        annotations={"file": "labels.csv", "images": "pictures", "columns": {"split": "split", "patient": "patient"}},
    )
    prefix = f"{wrapper}/" if wrapper else ""
    assert layout.kind == "csv"
    assert [(record.name, record.label, record.split, record.patient) for record in layout.records] == [
        (f"{prefix}pictures/2.png", "no", "validation", "p2"),
        (f"{prefix}pictures/3.png", "no", "test", ""),
        (f"{prefix}pictures/img/1.png", "yes", "train", "p1"),
    ]
    assert all(record.path.is_file() for record in layout.records)


def test_without_column_names_split_and_patient_are_unknown(tmp_path: Path) -> None:
    assert {(record.split, record.patient) for record in annotated(tmp_path).records} == {("", "")}


def test_other_spellings_of_tables(tmp_path: Path) -> None:
    table = '\ufeffimage;diagnosis\r\n"pictures/img/1.png";"a; b"\r\n.\\2.png;c\r\n/3.png;c\r\n'
    layout = annotated(tmp_path, table, file="image", label="diagnosis")
    assert [record.label for record in layout.records] == ["c", "c", "a; b"]


def test_images_beside_a_table_may_be_in_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("diascope.sources")
    monkeypatch.setenv("DIASCOPE_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "data"
    plant(tmp_path, "1.png", "2.png")
    root.mkdir()
    with zipfile.ZipFile(root / "images.zip", "w") as archive:
        archive.write(tmp_path / "1.png", "some/1.png")
        archive.write(tmp_path / "2.png", "some/2.png")
    (root / "labels.csv").write_text("file,label\n1,a\n2,b\n")
    layout = read(root, annotations={"file": "labels.csv", "images": "images.zip"})
    assert where(layout) == {"images.zip/some/1.png": ("", "a"), "images.zip/some/2.png": ("", "b")}
    assert all(record.path.read_bytes() == b"x" for record in layout.records)


def test_files_that_the_table_does_not_name_are_noticed(tmp_path: Path) -> None:
    layout = annotated(tmp_path, "file,label\n1,a\n2,b\n2.png,b\n")
    assert len(layout.records) == 2
    assert any("1 file left out" in notice and "'3.png'" in notice for notice in layout.notices)
    assert any("1 rows" in notice for notice in layout.notices)


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        ("name,lable\n1,a\n", {"file": "name"}, "no column 'label'; the nearest is 'lable'"),
        ("file,label\n1,a\n", {"patient": "patients"}, "no column 'patients'"),
        ("file,label\n", {}, "no rows"),
        ("", {}, "no rows"),
        ("file,label\n1,a\n8,b\n9,b\n", {}, "2 of the 3 files.*'8', '9'"),
        ("file,label\n1,a\n2,\n", {}, "line 3 has no 'label'"),
        ("file,label\n1,a,\n2,mass, left\n", {}, "line 3 has more fields than the header.*in quotes"),
        ("file,label\n1,a\n2,b\n1.png,b\n", {}, "two labels, 'a' and 'b'"),
        ("file,label,fold\n1,a,train\n2,b,eval\n3,b,\n", {"split": "fold"}, "none of train.*'', 'eval'"),
        ("file,label\n1,a\n2,b\n", {"agreement": "share"}, "no column 'share'"),
        ("file,label\n1,a\n2,a\n", {}, "only one class, 'a'"),
        ("file,label, label\n1,a,b\n2,b,a\n", {}, "several columns 'label'; rename all but one"),
    ],
)
def test_wrong_tables_are_refused_in_one_sentence(
    tmp_path: Path, table: str, columns: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        annotated(tmp_path, table, **columns)
    assert "\n" not in str(refused.value)


VOTED = "file,label,votes\n1,HP,0\n2,SSA,5\n3,HP,3\n"
SSA_OF_7 = {"columns": {"votes": "votes"}, "votes_for": "SSA", "annotators": 7}


def voted(root: Path, table: str, **annotations: object) -> Layout:
    plant(root, "1.png", "2.png", "3.png")
    (root / "labels.csv").write_text(table, encoding="utf-8")
    return read(root, annotations={"file": "labels.csv", **annotations})


def test_votes_say_how_many_agree_with_each_label(tmp_path: Path) -> None:
    layout = voted(tmp_path, VOTED, **SSA_OF_7)
    assert [record.agreement for record in layout.records] == pytest.approx([1, 5 / 7, 4 / 7])
    assert not layout.notices


@pytest.mark.parametrize(("text", "annotators"), [("5,4,", 5), ("1,0.8,", None)])
def test_agreement_may_be_counted_or_a_share_and_is_1_where_it_is_not_said(
    text: str, annotators: int | None, tmp_path: Path
) -> None:
    values = text.split(",")
    table = "file,label,agreed\n" + "".join(f"{i},{'ab'[i % 2]},{value}\n" for i, value in enumerate(values, start=1))
    layout = voted(tmp_path, table, columns={"agreement": "agreed"}, annotators=annotators)
    assert [record.agreement for record in layout.records] == pytest.approx([1, 0.8, 1])


def test_labels_that_most_annotators_do_not_share_are_noticed(tmp_path: Path) -> None:
    layout = voted(tmp_path, VOTED.replace("2,SSA,5", "2,SSA,3"), **SSA_OF_7)
    assert layout.notices == ["1 image has a label that fewer than half of the annotators share: '2.png'."]


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (VOTED.replace("SSA,5", "SSA,five"), SSA_OF_7, "line 3 has 'five' in 'votes'.*a whole number from 0 to 7"),
        (VOTED.replace("SSA,5", "SSA,8"), SSA_OF_7, "line 3 has '8' in 'votes'"),
        (VOTED.replace("SSA,5", "SSA,-1"), SSA_OF_7, "line 3 has '-1'"),
        (VOTED.replace("SSA,5", "SSA,4.5"), SSA_OF_7, "line 3 has '4.5'"),
        (VOTED.replace("SSA,5", "SSA,nan"), SSA_OF_7, "line 3 has 'nan'"),
        (VOTED, {"columns": {"agreement": "votes"}}, "line 3 has '5' in 'votes', which is not a number from 0 to 1"),
        (VOTED, {**SSA_OF_7, "votes_for": "ssa"}, "has no label 'ssa'; the nearest is 'SSA'"),
        (VOTED.replace("3,HP", "3,MSI"), SSA_OF_7, "do not say who agrees with one of the 2 other labels"),
        (VOTED + "2,SSA,6\n", SSA_OF_7, "says twice, and differently, how many annotators agree on '2.png'"),
    ],
)
def test_wrong_votes_are_refused_in_one_sentence(
    tmp_path: Path, table: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        voted(tmp_path, table, **options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"votes": "v"}}, "columns.votes needs votes_for and annotators"),
        ({"columns": {"votes": "v"}, "votes_for": "a"}, "columns.votes needs votes_for and annotators"),
        ({"columns": {"votes": "v", "agreement": "w"}, "votes_for": "a", "annotators": 3}, "say the same"),
        ({"votes_for": "a"}, "votes_for needs columns.votes"),
        ({"annotators": 3}, "annotators needs columns.votes or columns.agreement"),
    ],
)
def test_half_of_what_votes_need_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Annotations.model_validate({"file": "labels.csv", **options})


def test_only_some_classes_are_used(tmp_path: Path) -> None:
    names = ("cyst/1.png", "normal/2.png", "stone/3.png", "tumor_1/4.png", "tumor_2/5.png")
    mapped = {"tumor_1": "tumour", "tumor_2": "tumour"}
    layout = read(plant(tmp_path, *names), class_map=mapped, classes=["tumour", "normal"])
    assert layout.class_names == ("normal", "tumour")
    assert [record.label for record in layout.records] == ["normal", "tumour", "tumour"]
    assert layout.notices == ["2 files left out of classes that dataset.classes does not name: 'cyst', 'stone'."]
    with pytest.raises(InputError, match="names 'tumor', which the data does not have; the nearest is 'tumour'"):
        read(tmp_path, class_map=mapped, classes=["tumor", "normal"])
    every = ["cyst", "normal", "stone", "tumour"]
    assert read(tmp_path, class_map=mapped, classes=every).notices == read(tmp_path, class_map=mapped).notices


@pytest.mark.parametrize("classes", [["normal"], ["normal", "normal"]])
def test_one_class_is_no_choice(classes: list[str]) -> None:
    with pytest.raises(ValidationError, match="name two or more classes"):
        DatasetConfig(source="x", classes=classes)


def test_a_folder_that_dvc_tracks_is_read_like_any_other(tmp_path: Path) -> None:
    plant(tmp_path, "data/a/1.png", "data/b/2.png", "data.dvc", "dvc.lock", "dvc.yaml", ".dvc/config")
    plant(tmp_path / "cache", "ab", "cd")
    (tmp_path / "data/a/3.png").symlink_to(tmp_path / "cache/ab")  # as DVC's cache.type symlink leaves them
    assert set(where(read(tmp_path / "data"))) == {"a/1.png", "a/3.png", "b/2.png"}
    (tmp_path / "cache/ab").rename(tmp_path / ".ab")
    (tmp_path / "data/a/3.png").unlink()
    (tmp_path / "cache/cd").unlink()
    (tmp_path / "cache").rmdir()
    assert set(where(read(tmp_path))) == {"data/a/1.png", "data/b/2.png"}


def test_a_name_that_means_two_files_is_refused(tmp_path: Path) -> None:
    plant(tmp_path, "pictures/x/1.png")
    with pytest.raises(InputError, match=r"'1', which may be any of 'img/1.png', 'x/1.png'"):
        annotated(tmp_path, "file,label\n1,a\n2,b\n")


@pytest.mark.parametrize(
    ("file", "images"), [("gone.csv", "."), (".", "."), ("labels.csv", "gone"), ("labels.csv", "labels.csv")]
)
def test_missing_annotations_are_refused(tmp_path: Path, file: str, images: str) -> None:
    plant(tmp_path, "1.png")
    (tmp_path / "labels.csv").write_text("file,label\n1,a\n")
    with pytest.raises(InputError, match=r"gone|is a folder; give the CSV|neither a folder nor an archive"):
        read(tmp_path, annotations={"file": file, "images": images})


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    plant(tmp_path, "1.png")
    (tmp_path / "labels.csv").write_bytes(b"file,label\n1,\xff\xfe\n")
    with pytest.raises(InputError, match="not UTF-8"):
        read(tmp_path, annotations={"file": "labels.csv"})


@given(st.permutations(["train/b/2.png", "train/a/10.png", "train/a/9.png", "test/a/1.png", "test/b/1.png"]))
def test_records_are_sorted_whatever_the_order_on_disk(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    layout = read(plant(tmp_path_factory.mktemp("data"), *names))
    assert [record.name for record in layout.records] == sorted(names)


def test_chest_ct(real_images: Path) -> None:
    layout = read(real_images / "chest-ct-4class")
    assert Counter(record.split for record in layout.records) == {"train": 613, "validation": 72, "test": 315}
    assert layout.class_names == ("adenocarcinoma", "large.cell.carcinoma", "normal", "squamous.cell.carcinoma")
    assert Counter(record.label for record in layout.records if record.split == "test") == {
        "adenocarcinoma": 120,
        "large.cell.carcinoma": 51,
        "normal": 54,
        "squamous.cell.carcinoma": 90,
    }
    assert len(layout.notices) == 1


@pytest.fixture
def real_images() -> Path:
    folder = os.environ.get("DIASCOPE_TEST_DATA")
    if not folder:
        pytest.skip("DIASCOPE_TEST_DATA names no folder of real images")
    return Path(folder)
