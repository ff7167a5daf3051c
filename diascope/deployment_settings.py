"""What may an experiment say about where its model is served? Defaults hold where it says nothing."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from diascope.schema import Section

OWN = {"DIASCOPE_API_KEY", "PORT", "BENTOML_PORT"}
OWN_REASON = "a target sets the port itself, and takes the key from where secrets are kept"
# MB that Fargate gives to so many units of CPU.
FARGATE = {
    256: [512, 1024, 2048],
    512: [1024, 2048, 3072, 4096],
    1024: [gb * 1024 for gb in range(2, 9)],
    2048: [gb * 1024 for gb in range(4, 17)],
    4096: [gb * 1024 for gb in range(8, 31)],
}
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Memory = Annotated[str, Field(pattern=r"^[1-9][0-9]*(M|G|Mi|Gi)$")]  # as Kubernetes writes it
AwsName = Annotated[str, Field(pattern=r"^[A-Za-z0-9](-*[A-Za-z0-9]){0,62}$")]
Label = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]  # a name in Kubernetes

S3_PREFIX = r"^s3://[a-z0-9.-]+/[^/].*$"


class ContainerSettings(Section):
    """The service in the Docker engine of this machine."""

    keep: bool = True  # false: the image is built and tried, and nothing goes on running
    address: str = "127.0.0.1"  # 0.0.0.0 lets other machines in
    port: Port = 3000
    memory: Annotated[str, Field(pattern=r"^[0-9]+[bkmg]?$")] | None = None  # as `docker run --memory` takes it
    cpus: float | None = Field(default=None, gt=0)


class KubernetesSettings(Section):
    """The service in a Kubernetes cluster."""

    folder: str = Field(default="kubernetes", min_length=1)  # the manifests are written below it
    context: str | None = None  # of the kubeconfig; null: its current one
    namespace: Label | None = None  # null: that of the context
    replicas: int = Field(default=2, ge=1)
    max_replicas: int = Field(default=6, ge=1)
    target_cpu: int = Field(default=70, ge=1, le=100)  # % of what is asked for, that replicas are added above
    cpu: float = Field(default=1, gt=0)  # cores
    memory: Memory = "1Gi"
    image_pull_secret: Label | None = None
    api_key_secret: Label | None = None  # a secret of the cluster whose key `api-key` is the API key
    host: str | None = None  # an Ingress is made where one is given
    ingress_class: Label | None = None
    tls_secret: Label | None = None
    open_to: list[Label] = Field(default=[])  # namespaces that may call the service, beside its own
    timeout: int = Field(default=300, ge=10)  # seconds until it must serve

    @model_validator(mode="after")
    def _consistent(self) -> "KubernetesSettings":
        if self.max_replicas < self.replicas:
            raise ValueError("max_replicas is less than replicas")
        if self.host is None and (self.tls_secret or self.ingress_class):
            raise ValueError("tls_secret and ingress_class go with a host")
        return self


class EcsSettings(Section):
    """The service on Fargate, behind an application load balancer."""

    cluster: str = Field(default="diascope", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,254}$")
    execution_role: str = Field(default="diascope-ecs-execution", min_length=1)  # name; pulls the image, writes logs
    task_role: str | None = None  # name; the service itself calls nothing of AWS
    vpc: str | None = None  # null: the default one
    subnets: list[str] = Field(default=[])  # of the tasks; empty: those of the VPC, one in each zone
    balancer_subnets: list[str] = Field(default=[])  # empty: the same
    public_address: bool = True  # of the tasks; false where the subnets reach the registry otherwise
    architecture: Literal["X86_64", "ARM64"] = "X86_64"
    cpu: Literal[256, 512, 1024, 2048, 4096] = 1024  # 1024 are one core
    memory: int = Field(default=2048, ge=512, le=30720)  # MB; what fits to the cores
    replicas: int = Field(default=2, ge=1)
    max_replicas: int = Field(default=6, ge=1)
    target_cpu: int = Field(default=70, ge=1, le=100)
    allow: list[str] = Field(default=[])  # networks (CIDR) that may call beside the VPC; empty: internal
    certificate: str | None = None  # ARN (ACM), for HTTPS
    host: str | None = None  # that the certificate is for, and callers use
    plain_http: bool = False  # allows what comes from outside to come without a certificate
    api_key_secret: str | None = None  # ARN of a secret or parameter whose whole value is the API key
    log_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365] = 30
    timeout: int = Field(default=900, ge=60)  # seconds until it must serve
    tags: dict[str, str] = Field(default={})

    @model_validator(mode="after")
    def _consistent(self) -> "EcsSettings":
        if self.max_replicas < self.replicas:
            raise ValueError("max_replicas is less than replicas")
        if bool(self.certificate) != bool(self.host):
            raise ValueError("certificate and host go together")
        fitting = FARGATE[self.cpu]
        if self.memory not in fitting:
            raise ValueError(f"Fargate gives a cpu of {self.cpu} a memory of {', '.join(map(str, fitting))}")
        if self.allow and not (self.certificate or self.plain_http):
            raise ValueError("allow needs a certificate: images would travel in the clear (plain_http permits it)")
        return self


class SagemakerSettings(Section):
    """The service on an endpoint of SageMaker."""

    endpoint: AwsName | None = None  # null: the model's name
    role: str = Field(
        default="diascope-service", min_length=1
    )  # name or ARN; pulls the image, writes logs and captures
    instance_type: str = Field(default="ml.c5.large", pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")
    instances: int = Field(default=1, ge=1)
    max_instances: int = Field(default=2, ge=1)  # as many as `instances`: no autoscaling
    invocations_per_instance: int = Field(default=600, ge=1)  # per minute, that instances are added above
    serverless: bool = False  # no instances, and nothing can be captured
    serverless_memory: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 2048  # MB
    max_concurrency: int = Field(default=5, ge=1, le=200)  # of a serverless endpoint
    capture: Literal["nothing", "answers", "everything"] = "nothing"  # everything: images too, which are patient data
    capture_percent: int = Field(default=100, ge=1, le=100)
    capture_to: str | None = Field(default=None, pattern=S3_PREFIX)  # null: below the bucket of the active stack
    capture_key: str | None = None  # KMS key that captures are encrypted with; null: that of the bucket
    volume_key: str | None = None  # KMS key for the disks of the instances
    subnets: list[str] = Field(default=[])  # with security_groups: the VPC that the service runs in
    security_groups: list[str] = Field(default=[])
    network: bool = False  # true: the container may reach the network, which the service has no need of
    alarms: list[str] = Field(default=[])  # of CloudWatch, that take an update back
    timeout: int = Field(default=1800, ge=60)  # seconds until it must serve
    tags: dict[str, str] = Field(default={})

    @model_validator(mode="after")
    def _consistent(self) -> "SagemakerSettings":
        if self.max_instances < self.instances:
            raise ValueError("max_instances is less than instances")
        if self.serverless and self.capture != "nothing":
            raise ValueError("a serverless endpoint captures nothing")
        if self.serverless and (self.subnets or self.alarms or self.volume_key):
            raise ValueError("subnets, alarms and volume_key are not for serverless endpoints")
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("subnets and security_groups go together")
        return self


class LambdaSettings(Section):
    """The service as a function of AWS Lambda."""

    function: AwsName | None = None  # null: the model's name
    role: str = Field(default="diascope-service", min_length=1)  # name or ARN; writes logs, reads and writes buckets
    architecture: Literal["x86_64", "arm64"] = "x86_64"  # that the image was built for
    memory: int = Field(default=2048, ge=512, le=10240)  # MB; 1769 are one core
    event_timeout: int = Field(default=60, ge=5, le=900)  # seconds that an event may take
    concurrency: int | None = Field(default=None, ge=1)  # events at once, of the account's; null: as many as there are
    auth: Literal["AWS_IAM", "NONE"] = (
        "AWS_IAM"  # of the function URL; NONE: everybody who has the key DIASCOPE_API_KEY
    )
    results: str | None = Field(default=None, pattern=S3_PREFIX)  # where answers to images in buckets are written
    keep: int = Field(default=3, ge=2, le=100)  # model versions that the function keeps, to go back to
    timeout: int = Field(default=600, ge=30)  # seconds until it must serve
    tags: dict[str, str] = Field(default={})


class DeploymentSettings(Section):
    """Where and how the model in production is served."""

    images: int = Field(default=16, ge=0, le=1000)  # test images that a deployed service must answer as measured
    environment: dict[Variable, str] = Field(default={})  # of the service
    container: ContainerSettings = ContainerSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    ecs: EcsSettings = EcsSettings()
    sagemaker: SagemakerSettings = SagemakerSettings()
    lambda_function: LambdaSettings = LambdaSettings()  # `lambda` is a word of Python's own

    @field_validator("environment")
    @classmethod
    def _leaves_ports_and_secrets_alone(cls, value: dict[str, str]) -> dict[str, str]:
        for name in OWN & value.keys():
            raise ValueError(f"{name} is not for here: {OWN_REASON}")
        return value
