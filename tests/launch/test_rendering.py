"""What the engines get: scripts that the shell takes, manifests with the fields of their APIs."""

import shlex
import subprocess

import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.config.slices import parse
from jaxlin.launch import gke, queued, skypilot, slurm, tpu_vm
from jaxlin.launch.gcloud import Slice
from jaxlin.launch.job import FINAL, RESTART, Job

library = pytest.importorskip("yaml")
SHARE = "10.0.0.2:/runs"
# A preset's values may hold all that a shell or YAML takes for something else.
ODD = ("train", "quickstart", 'data.paths=it\'s $HOME `id` "a": b # c \\ *', "--run", "/mnt/a b")
JOB = Job("odd", ODD)
WANTED = Slice(parse("v5e:4x4"), "my-project", "us-west4-a", SHARE, spot=True)
SCRIPTS = {
    "tpu-vm": tpu_vm.render(JOB, WANTED),
    "queued": queued.render(JOB, WANTED),
    "slurm": slurm.render(JOB, slurm.Nodes(8)),
    "slurm, a task a node": slurm.render(JOB, slurm.Nodes(8, task="node", venv="my env")),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_takes_the_script(name):
    done = subprocess.run(["bash", "-n"], input=SCRIPTS[name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def words_of_jaxlin(script, **programs):
    """What `jaxlin` is called with when bash runs the script, where all else does nothing."""
    bodies = {"jaxlin": 'printf "%s\\0" "$@"', **programs}
    fakes = "".join(f"{name}() {{ {body}; }}\n" for name, body in bodies.items())
    done = subprocess.run(
        ["bash", "-c", f"{fakes}export -f {' '.join(bodies)}\n{script}"],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": "/usr/bin:/bin", "SLURM_SUBMIT_DIR": "/", "SLURM_JOB_ID": "1"},
    )
    return tuple(word for word in done.stdout.split("\0") if word)


# gcloud's last word is --command=SCRIPT, which a host's shell would run.
HOST = 'case "${@: -1}" in *train*) c="${@: -1}"; eval "${c#--command=}" ;; esac'


@pytest.mark.parametrize("name", ["tpu-vm", "queued"])
def test_words_reach_a_tpu_host_as_they_are(name):
    gcloud = f'case "$*" in *describe*) echo ACTIVE ;; *) cd() {{ :; }}; {HOST} ;; esac'
    script = SCRIPTS[name].replace("echo 'done", ": 'done")
    found = words_of_jaxlin(script, gcloud=gcloud, git=":", sleep=":")
    assert found == (*ODD, "--distributed")


def test_nothing_is_trained_where_installing_failed():
    gcloud = f'case "$*" in *describe*) echo ACTIVE ;; *scp*) return 1 ;; *) {HOST} ;; esac'
    assert words_of_jaxlin(SCRIPTS["queued"], gcloud=gcloud, git=":", cd=":") == ()


@pytest.mark.parametrize("name", ["slurm", "slurm, a task a node"])
def test_words_reach_a_slurm_task_as_they_are(name):
    found = words_of_jaxlin(SCRIPTS[name], srun='shift 2; "$@"')
    assert found == (*ODD, "--distributed")


def test_a_tpu_host_starts_again_what_was_told_to_stop():
    """75, 75, then an error, which ends it."""
    script = shlex.split(tpu_vm.gcloud.train(JOB, WANTED))[-1].removeprefix("--command=")
    jaxlin = "jaxlin() { n=$((n + 1)); echo $n; [ $n -lt 3 ] && return 75; return 3; }"
    done = subprocess.run(
        ["bash", "-c", f"n=0; cd() {{ :; }}; {jaxlin}\n{script}"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (3, "1\n2\n3\n")


@pytest.mark.parametrize(
    "codes, started, requeued, code",
    [("0", None, False, 0), ("75", None, True, 75), ("3", None, False, 3), ("75", 100, False, 75)],
)
def test_slurm_queues_again_what_was_told_to_stop(codes, started, requeued, code, tmp_path):
    fakes = (
        f"srun() {{ return {codes}; }}\nscontrol() {{ echo $*; }}\nsleep() {{ :; }}\n"
        "export -f srun scontrol sleep\n"
    )
    env = {"PATH": "/usr/bin:/bin", "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "7"}
    env |= {"SLURM_RESTART_COUNT": str(started)} if started else {}
    done = subprocess.run(
        ["bash", "-c", fakes + SCRIPTS["slurm"]],
        capture_output=True,
        text=True,
        timeout=30,
        env=env,
    )
    assert done.returncode == code
    assert ("requeue 7" in done.stdout) == requeued


def test_slurm_passes_the_notice_on_and_waits(tmp_path):
    """SIGUSR1 to the script: the tasks are told, and their code counts."""
    fakes = (
        "scancel() { echo told $*; touch told; }\nscontrol() { echo $*; }\nsleep() { :; }\n"
        "srun() { touch on; until [ -e told ]; do command sleep 0.1; done; return 75; }\n"
    )
    process = subprocess.Popen(
        ["bash", "-c", fakes + SCRIPTS["slurm"]],
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "7"},
    )
    try:
        while not (tmp_path / "on").exists():
            assert process.poll() is None
        process.send_signal(10)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 75
    assert out == "told --signal=TERM 7\nrequeue 7\n"


def test_slurm_has_a_task_a_gpu_or_a_node():
    by_gpu, by_node = SCRIPTS["slurm"], SCRIPTS["slurm, a task a node"]
    assert "#SBATCH --ntasks-per-node=8\n" in by_gpu and "JAX_LOCAL_DEVICE_IDS" not in by_gpu
    assert "#SBATCH --ntasks-per-node=1\n" in by_node
    assert "export JAX_LOCAL_DEVICE_IDS=0,1,2,3,4,5,6,7\n" in by_node
    assert "export PATH='my env'/bin:\"$PATH\"\n" in by_node


def test_the_jobset():
    """Fields of jobset.x-k8s.io/v1alpha2 and batch/v1 that it needs, and what they mean here."""
    text = gke.render(JOB, gke.Cluster(parse("v5e:4x4"), "gcr.io/p/jaxlin:1", SHARE, spot=True))
    found = library.safe_load(text)
    assert (found["apiVersion"], found["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert found["metadata"]["name"] == "odd"
    (rule,) = found["spec"]["failurePolicy"]["rules"]
    assert rule["action"] == "FailJobSet" and rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    assert found["spec"]["failurePolicy"]["maxRestarts"] > 0
    (slice_,) = found["spec"]["replicatedJobs"]
    job = slice_["template"]["spec"]
    assert job["parallelism"] == job["completions"] == 4
    assert (job["completionMode"], job["backoffLimit"]) == ("Indexed", 0)
    (policy,) = job["podFailurePolicy"]["rules"]
    codes = policy["onExitCodes"]
    assert policy["action"] == "FailJob" and codes["operator"] == "In"
    assert codes["values"] == list(FINAL) and RESTART not in codes["values"]
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy demands it
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x4",
        "cloud.google.com/gke-spot": "true",
    }
    (container,) = pod["containers"]
    assert container["name"] == codes["containerName"]
    assert container["command"] == ["jaxlin", *ODD, "--distributed"]
    assert container["resources"]["limits"] == {"google.com/tpu": 4}
    (mount,), (volume,) = container["volumeMounts"], pod["volumes"]
    assert mount["name"] == volume["name"]
    assert volume["nfs"] == {"server": "10.0.0.2", "path": "/runs"}


def test_the_task_of_skypilot():
    nodes = skypilot.Nodes(8, bucket="gs://my-runs", infra="gcp/us-central1", spot=True)
    found = library.safe_load(skypilot.render(JOB, nodes))
    assert (found["name"], found["num_nodes"], found["workdir"]) == ("odd", 8, ".")
    assert found["resources"] == {
        "infra": "gcp/us-central1",
        "accelerators": "H100:8",
        "use_spot": True,
        "job_recovery": {"max_restarts_on_errors": 3, "recover_on_exit_codes": [75]},
    }
    assert found["file_mounts"] == {"/mnt/jaxlin": {"source": "gs://my-runs", "mode": "MOUNT"}}
    run = found["run"].replace("exec ", "")
    node = "SKYPILOT_NODE_IPS=$'10.0.0.1\\n10.0.0.2' SKYPILOT_NUM_NODES=2 SKYPILOT_NODE_RANK=1\n"
    group = ("--coordinator", "10.0.0.1:8476", "--processes", "2", "--process-id", "1")
    assert words_of_jaxlin(node + run) == (*ODD, *group)


@pytest.mark.parametrize("name", ["", "My-run", "a b", "a'b", "-a", "a-", "1a", "a" * 41, "a;b"])
def test_names_that_no_cloud_takes(name):
    with pytest.raises(ConfigError, match="^--name: "):
        Job(name, ODD)


def test_unprintable_words_are_refused():
    with pytest.raises(ConfigError, match="cannot be printed"):
        Job("a", ("train", "name=a\nb"))


@pytest.mark.parametrize(
    "option, make",
    [
        ("--project", lambda: Slice(parse("v5e:4x4"), "my project", "z", SHARE)),
        ("--zone", lambda: Slice(parse("v5e:4x4"), "p", "z;reboot", SHARE)),
        ("--nfs", lambda: Slice(parse("v5e:4x4"), "p", "z", None)),
        ("--nfs", lambda: Slice(parse("v5e:4x4"), "p", "z", "host:/a b")),
        ("--runtime", lambda: Slice(parse("v5e:4x4"), "p", "z", SHARE, runtime="$(id)")),
        ("--topology", lambda: Slice(parse("tpu7x:4x4x4"), "p", "z", SHARE)),
        ("--image", lambda: gke.Cluster(parse("v5e:4x4"), "a image", SHARE)),
        ("--namespace", lambda: gke.Cluster(parse("v5e:4x4"), "i", SHARE, namespace="a b")),
        ("--nodes", lambda: slurm.Nodes(0)),
        ("--gpus-per-node", lambda: slurm.Nodes(1, gpus=0)),
        ("--time", lambda: slurm.Nodes(1, time="1 h")),
        ("--partition", lambda: slurm.Nodes(1, partition="a\nb")),
        ("--venv", lambda: slurm.Nodes(1, venv="")),
        ("--accelerator", lambda: skypilot.Nodes(1, "H100", "gs://my-runs")),
        ("--bucket", lambda: skypilot.Nodes(1)),
        ("--bucket", lambda: skypilot.Nodes(1, bucket="gs://a b")),
        ("--infra", lambda: skypilot.Nodes(1, bucket="gs://my-runs", infra="a:b")),
    ],
)
def test_values_that_would_have_to_be_quoted_are_refused(option, make):
    with pytest.raises(ConfigError) as error:
        make()
    assert str(error.value).startswith(f"{option}: ") and "\n" not in str(error.value)
