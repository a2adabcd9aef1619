"""A JobSet for GKE: one pod a TPU host, all made anew when one is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxlin.config.slices import Topology
from jaxlin.launch import yaml
from jaxlin.launch.job import FINAL, MOUNT, RESTARTS, Job, nfs, plain

GRACE = 120  # seconds between SIGTERM and SIGKILL; a spot node gives less
PORTS = (8471, 8080)  # of the TPU runtime and of JAX's coordinator


@dataclass(frozen=True)
class Cluster:
    """`image`: a container image with jaxlin[tpu] installed."""

    topology: Topology
    image: str
    share: str | None
    spot: bool = False
    namespace: str = "default"

    def __post_init__(self) -> None:
        plain("--image", self.image, ":/@")
        plain("--namespace", self.namespace)
        nfs("--nfs", self.share)


def render(job: Job, cluster: Cluster) -> str:
    """The manifest, for `kubectl apply -f -`."""
    manifest = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {
            "name": job.name,
            "namespace": cluster.namespace,
            # A slice is one node pool: the pods of a job belong on the same.
            "annotations": {
                "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
            },
        },
        "spec": {
            "failurePolicy": {
                "maxRestarts": RESTARTS,
                "rules": [
                    {
                        "name": "wrongInput",
                        "action": "FailJobSet",
                        "onJobFailureReasons": ["PodFailurePolicy"],
                    }
                ],
            },
            "replicatedJobs": [
                {"name": "slice", "replicas": 1, "template": {"spec": _hosts(job, cluster)}}
            ],
        },
    }
    return yaml.commented(_about(job, cluster), yaml.dump(manifest))


def _about(job: Job, cluster: Cluster) -> list[str]:
    final = ", ".join(map(str, FINAL))
    return [
        f"{job.name} on {cluster.topology}. Exit code 75 (saved), a lost node and a crash start",
        f"all pods again; exit codes {final}, which would come again, end it.",
    ]


def _hosts(job: Job, cluster: Cluster) -> dict[str, Any]:
    """One pod a host. Any that fails fails the job, upon which the JobSet makes all anew."""
    hosts = cluster.topology.hosts
    wrong = {"containerName": "jaxlin", "operator": "In", "values": list(FINAL)}
    return {
        "parallelism": hosts,
        "completions": hosts,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": wrong}]},
        "template": {"spec": _pod(job, cluster)},
    }


def _pod(job: Job, cluster: Cluster) -> dict[str, Any]:
    topology, (server, path) = cluster.topology, nfs("--nfs", cluster.share)
    chips = {"google.com/tpu": topology.chips_each}
    spot = {"cloud.google.com/gke-spot": "true"} if cluster.spot else {}
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "nodeSelector": {
            "cloud.google.com/gke-tpu-accelerator": topology.kind.label,
            "cloud.google.com/gke-tpu-topology": topology.shape,
            **spot,
        },
        "containers": [
            {
                "name": "jaxlin",
                "image": cluster.image,
                # Without a shell between, so that SIGTERM reaches it.
                "command": ["jaxlin", *job.words, "--distributed"],
                "ports": [{"containerPort": port} for port in PORTS],
                "resources": {"requests": chips, "limits": chips},
                "volumeMounts": [{"name": "runs", "mountPath": MOUNT}],
            }
        ],
        "volumes": [{"name": "runs", "nfs": {"server": server, "path": path}}],
    }
