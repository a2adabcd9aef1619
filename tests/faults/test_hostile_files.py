"""G: files made to do harm are refused: nothing is unpickled, followed, run, filled or believed."""

import ast
import gzip
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.adapters import attach, files
from jaxlin.adapters import load as load_adapter
from jaxlin.cli.main import main
from jaxlin.cli.train import default_folder
from jaxlin.config.adapters.lora import LoRA
from jaxlin.config.errors import CheckpointError, ConfigError, DataError
from jaxlin.config.load import override, to_json
from jaxlin.config.paths import inside, user_path
from jaxlin.config.presets import preset
from jaxlin.data import files as data_files
from jaxlin.data.pack import pack
from jaxlin.data.tokenizer import load_tokenizer
from jaxlin.train import checkpoint
from tests.data.helpers import byte_level_tokenizer, documents
from tests.faults.refusals import TINY, listing, pickle_bomb, refused

ROOT = Path(__file__).parents[2]
SOURCES = [p for top in ("kernels_pallas", "jaxlin", "configs") for p in (ROOT / top).rglob("*.py")]


# ---- 36: pickles.


@pytest.fixture
def marker(tmp_path):
    """What a pickle that is run would create."""
    return tmp_path / "harm" / "done"


@pytest.fixture
def bomb(marker):
    marker.parent.mkdir()
    return pickle_bomb(marker)


NAMES = ["a.bin", "a.pt", "a.pth", "a.pkl", "a.pickle", "a.npy", "a.npz", "a.txt", "a.jsonl", "a"]


def object_array(path, bomb):
    """An .npy file of objects, which numpy keeps as a pickle."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bomb)


@pytest.mark.parametrize("name", NAMES)
def test_g36_pickles_as_text_are_refused(tmp_path, capsys, bomb, marker, name):
    path = tmp_path / name
    if path.suffix == ".npy":
        object_array(path, bomb)
    else:
        path.write_bytes(bomb)
    words = ["train", *TINY, "data=text", f"data.paths={path}", "--run", tmp_path / "run"]
    refused(capsys, words, 3, str(path), root=tmp_path)
    out = tmp_path / "out"
    for what in ("pack", "tokenizer"):
        refused(capsys, ["data", what, "--out", out, path], 3, str(path), root=tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize("name", NAMES)
def test_g36_pickles_as_tokenizer_config_and_run_are_refused(tmp_path, capsys, bomb, marker, name):
    path, text = tmp_path / name, tmp_path / "text.txt"
    path.write_bytes(bomb)
    text.write_text("some text " * 99)
    own = ["data=text", f"data.paths={text}", "--run", tmp_path / "run"]
    words = ["train", *TINY, f"data.tokenizer={path}", *own]
    refused(capsys, words, 3, f"{path}: not a tokenizer.json", root=tmp_path)
    refused(capsys, ["train", "--config", path], 2, str(path), root=tmp_path)
    refused(capsys, ["train", *TINY, f"init_from={path}", *own], 4, str(path), root=tmp_path)
    for command in (["eval"], ["resume"], ["generate", "--prompt", "x"]):
        words = [*command[:1], path, *command[1:]]
        refused(capsys, words, 4, f"{path} is no run directory", root=tmp_path)
    assert not marker.exists()


def test_g36_pickles_in_a_packed_folder_are_refused(tmp_path, capsys, bomb, marker):
    tokenizer = load_tokenizer(str(byte_level_tokenizer(tmp_path / "t.json")))
    pack(documents(["some text " * 99]), tokenizer, tmp_path / "p")
    words = ["data", "inspect", *TINY, "data=packed", f"data.path={tmp_path}/p"]
    assert main(words) == 0
    for name in ("tokens.bin", "documents.bin", "index.json", "tokenizer.json"):
        whole = (tmp_path / "p" / name).read_bytes()
        for content in (bomb, bomb.ljust(len(whole), b".")[: len(whole)]):
            (tmp_path / "p" / name).write_bytes(content)
            refused(capsys, words, 3, name, root=tmp_path)
        (tmp_path / "p" / name).write_bytes(whole)
    assert not marker.exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two steps."""
    root = tmp_path_factory.mktemp("finished")
    (root / "a.txt").write_text("".join(f"line {i} is {i * i} long\n" for i in range(60)))
    own = ["data=text", f"data.paths={root}/a.txt", "--run", str(root / "run")]
    assert main(["train", *TINY, *own]) == 0
    return root / "run"


def test_g36_pickles_in_place_of_a_checkpoint_are_refused(tmp_path, capsys, bomb, marker, finished):
    """Every file of the step in turn, and all of them: no command reads one and runs it."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    paths = [path for path in (run / "checkpoints").rglob("*") if path.is_file()]
    for path in paths:
        path.write_bytes(bomb)
    for words in (["eval", run], ["generate", run, "--prompt", "x"]):
        refused(capsys, words, 4, str(run), root=tmp_path)
    refused(capsys, ["resume", run, "steps=3"], 4, str(run))
    assert not marker.exists()


DAMAGED = [
    ("config.json", "{", 2),
    ("config.json", "[]", 2),
    ("config.json", None, 4),
    ("data.json", "{", 4),
    ("data.json", "[" * 100_000, 4),
    ("data.json", "[1]", 4),
    ("data.json", '{"tokenizer": 3}', 4),
]


@pytest.mark.parametrize(("name", "content", "code"), DAMAGED)
def test_damaged_files_of_a_run_are_named(tmp_path, capsys, finished, name, content, code):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / name).unlink()
    if content is not None:
        (run / name).write_text(content)
    refused(capsys, ["generate", run, "--prompt", "x"], code, name, root=tmp_path)


def test_g36_pickles_as_adapters_are_refused(tmp_path, bomb, marker):
    folder = saved(tmp_path)
    for name in (files.WEIGHTS, files.CONFIG):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(bomb)
        with pytest.raises(CheckpointError, match=name):
            load_adapter(folder, BASE)
        (folder / name).write_bytes(whole)
    load_adapter(folder, BASE)
    assert not marker.exists()


FORBIDDEN_MODULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "torch"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_METHODS = {("np", "load"), ("numpy", "load"), ("jnp", "load"), ("numpy", "fromfile")}
FORBIDDEN_WORDS = {"allow_pickle", "trust_remote_code"}


def readers_of_code(source: str) -> set[str]:
    """What a source uses of the ways in which data becomes code."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names} & FORBIDDEN_MODULES
        if isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").split(".")[0]} & FORBIDDEN_MODULES
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found |= {node.func.id} & FORBIDDEN_CALLS
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found |= {".".join(p) for p in {(node.value.id, node.attr)} & FORBIDDEN_METHODS}
        if isinstance(node, ast.keyword):
            found |= {node.arg} & FORBIDDEN_WORDS
    return found


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import pickle", "pickle"),
        ("from torch.serialization import load", "torch"),
        ("eval('1')", "eval"),
        ("np.load('x')", "np.load"),
        ("f(allow_pickle=True)", "allow_pickle"),
        ("f(trust_remote_code=True)", "trust_remote_code"),
    ],
)
def test_the_check_below_finds_what_it_looks_for(source, what):
    assert readers_of_code(source) == {what}


def test_g36_no_source_turns_data_into_code():
    found = {str(path): readers_of_code(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert len(found) > 100
    assert {path: what for path, what in found.items() if what} == {}


# ---- 37: safetensors with lying headers, links and names that lead out.

BASE = {"unembed": {"kernel": jnp.ones((4, 6), jnp.float32)}}
LORA = LoRA(at="unembed", rank=2)
A, B = "unembed/kernel/lora/a", "unembed/kernel/lora/b"


def saved(folder):
    """An adapter on disk that loads."""
    import jax

    tree = attach((LORA,), BASE, jax.random.key(0))
    files.save(folder / "adapter", tree, (LORA,), BASE)
    assert load_adapter(folder / "adapter", BASE)[0] == (LORA,)
    return folder / "adapter"


def tensor(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def whole():
    """The header of `saved`: A is [4, 2], B is [2, 6]."""
    return {A: tensor([4, 2], 0, 32), B: tensor([2, 6], 32, 80)}


def spelled(*entries):
    """A JSON object with these (name, value) pairs, also with equal names."""
    return "{" + ", ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in entries) + "}"


HEADERS = {
    "overlap": ({**whole(), B: tensor([2, 6], 16, 64)}, "invalid offset"),
    "gap": ({**whole(), B: tensor([2, 6], 40, 88)}, "invalid offset"),
    "outside": ({**whole(), B: tensor([2, 6], 2**40, 2**40 + 48)}, "cannot be read"),
    "negative offset": ({**whole(), B: tensor([2, 6], -48, 0)}, "cannot be read"),
    "negative shape": ({**whole(), B: tensor([-2, -6], 32, 80)}, r"F32\[-2, -6\]"),
    "huge shape": ({**whole(), B: tensor([2**40, 2**40], 32, 80)}, r"F32\[1099511627776, "),
    "wrapping shape": ({**whole(), B: tensor([2**32, 2**32], 32, 32)}, r"F32\[4294967296, "),
    "empty but huge": ({**whole(), B: tensor([0, 2**60], 32, 32)}, r"F32\[0, "),
    "float shape": ({**whole(), B: tensor([2.0, 6], 32, 80)}, r"F32\[2.0, 6\]"),
    "shape of nan": ({**whole(), B: tensor([float("nan")], 32, 80)}, r"F32\[nan\]"),
    "no shape": ({**whole(), B: {"dtype": "F32"}}, "F32None"),
    "no entry": ({**whole(), B: 3}, f"'{B}', '3'"),
    "name of nan": ({A: whole()[A], "NaN": whole()[B]}, "'NaN'"),
    "name with ..": ({A: whole()[A], "../../b": whole()[B]}, r"'\.\./\.\./b'"),
    "one more": ({**whole(), "c": tensor([1], 80, 84)}, "'c'"),
    "one less": ({A: whole()[A]}, f"'{B}'"),
    "other dtype": ({**whole(), B: tensor([2, 6], 32, 80, "I32")}, r"I32\[2, 6\]"),
    "no dtype": ({**whole(), B: tensor([2, 6], 32, 80, "O")}, r"O\[2, 6\]"),
    "twice": (spelled((A, whole()[A]), (B, whole()[B]), (B, whole()[B])), "given twice"),
    "list": ("[]", "the header is no JSON object"),
    "cut": (json.dumps(whole())[:-5], "header: is not JSON at line 1"),
    "deep": ('{"a":' * 40 + "1" + "}" * 40, "header: is nested deeper"),
    "not utf-8": (b'{"\xff": 1}', r"header: is not UTF-8 text \(byte 2\)"),
}


def write_weights(folder, header, size=None):
    """80 bytes of zeros under this header, and the digest of it all in the config."""
    text = json.dumps(header) if isinstance(header, dict) else header
    raw = text if isinstance(text, bytes) else text.encode()
    path = folder / files.WEIGHTS
    claimed = len(raw) if size is None else size
    path.write_bytes(struct.pack("<Q", claimed) + raw + bytes(80))
    config = json.loads((folder / files.CONFIG).read_text())
    config["weights"] = files._file_digest(path)
    (folder / files.CONFIG).write_text(json.dumps(config))


def test_g37_the_header_itself_is_good(tmp_path):
    """The control of what follows."""
    folder = saved(tmp_path)
    write_weights(folder, whole())
    _, tree = load_adapter(folder, BASE)
    assert tree["unembed"]["kernel"]["lora"].a.shape == (4, 2)


@pytest.mark.parametrize("name", HEADERS)
def test_g37_lying_headers_are_refused(tmp_path, name):
    header, said = HEADERS[name]
    folder = saved(tmp_path)
    write_weights(folder, header)
    before = listing(tmp_path)
    with pytest.raises(CheckpointError, match=rf"{files.WEIGHTS}.*{said}"):
        load_adapter(folder, BASE)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("size", [0, 2**24, 2**40, 2**64 - 1])
def test_g37_a_header_larger_than_the_file_is_refused(tmp_path, size):
    folder = saved(tmp_path)
    write_weights(folder, whole(), size)
    with pytest.raises(CheckpointError, match=f"the header claims {size} bytes"):
        load_adapter(folder, BASE)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 20, 200])
def test_g37_truncated_weights_are_refused(tmp_path, size):
    folder = saved(tmp_path)
    content = (folder / files.WEIGHTS).read_bytes()
    (folder / files.WEIGHTS).write_bytes(content[:size])
    with pytest.raises(CheckpointError, match=files.WEIGHTS):
        load_adapter(folder, BASE)


def test_g37_a_flipped_bit_in_the_weights_is_refused(tmp_path):
    folder = saved(tmp_path)
    content = bytearray((folder / files.WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / files.WEIGHTS).write_bytes(content)
    with pytest.raises(CheckpointError, match="its content is not what adapter_config.json"):
        load_adapter(folder, BASE)


@pytest.mark.parametrize("name", [files.WEIGHTS, files.CONFIG])
def test_g37_links_out_of_the_folder_are_refused(tmp_path, name):
    folder = saved(tmp_path)
    (folder / name).rename(tmp_path / "secret")
    (folder / name).symlink_to(tmp_path / "secret")
    with pytest.raises(CheckpointError, match=f"{name}: a link out of the folder"):
        load_adapter(folder, BASE)
    (folder / name).unlink()
    (tmp_path / "secret").rename(folder / "inner")
    (folder / name).symlink_to("inner")
    load_adapter(folder, BASE)


def test_g37_index_files_name_no_other_file(tmp_path, capsys):
    """The index of packed tokens names its tokenizer by one of two constants."""
    pack(documents(["some text " * 99]), load_tokenizer("bytes"), tmp_path / "p")
    index = json.loads((tmp_path / "p" / "index.json").read_text())
    words = ["data", "inspect", *TINY, "data=packed", f"data.path={tmp_path}/p"]
    for change in (
        {"tokenizer": "../t.json"},
        {"tokenizer": "/etc/passwd"},
        {"tokens": "../tokens.bin"},
        {"shards": ["/etc/passwd"]},
    ):
        (tmp_path / "p" / "index.json").write_text(json.dumps(index | change))
        refused(capsys, words, 3, "index.json: ", next(iter(change)), root=tmp_path)


# ---- 38: custom code.

CODE = {"AutoModel": "harm.Model", "AutoTokenizer": ["harm.Tokenizer", None]}


def test_g38_custom_code_entries_are_refused(tmp_path, capsys):
    """A field that nobody knows is an error in every file that jaxlin reads."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**json.loads(to_json(preset("tiny"))), "auto_map": CODE}))
    words = ["train", "--config", config, "--run", tmp_path / "run"]
    refused(capsys, words, 2, "auto_map: no such field", root=tmp_path)
    tokenizer = byte_level_tokenizer(tmp_path / "t.json")
    spec = json.loads(tokenizer.read_text())
    tokenizer.write_text(json.dumps({**spec, "auto_map": CODE}))
    (tmp_path / "a.txt").write_text("text " * 99)
    own = ["data=text", f"data.paths={tmp_path}/a.txt", f"data.tokenizer={tokenizer}"]
    words = ["train", *TINY, *own, "--run", tmp_path / "run"]
    refused(capsys, words, 3, "t.json: not a tokenizer.json", root=tmp_path)


def test_g38_custom_code_of_an_adapter_is_refused(tmp_path):
    path = saved(tmp_path) / files.CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": CODE}))
    with pytest.raises(CheckpointError, match="auto_map: no such field"):
        load_adapter(path.parent, BASE)


def test_g38_code_beside_a_tokenizer_is_not_run(tmp_path, capsys):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"auto_map": CODE}))
    (tmp_path / "config.json").write_text(json.dumps({"auto_map": CODE}))
    (tmp_path / "harm.py").write_text(f"open({str(tmp_path / 'done')!r}, 'w')")
    tokenizer = byte_level_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "a.txt").write_text("text " * 99)
    own = ["data=text", f"data.paths={tmp_path}/a.txt", f"data.tokenizer={tokenizer}"]
    before = listing(tmp_path)
    assert main(["data", "inspect", *TINY, *own]) == 0
    assert listing(tmp_path) == before


# ---- 39: names.

BAD_NAMES = ["../x", "a/b", "/x", ".x", "", "x" * 129, "x\0", "x\n", "ü", "a b", "~", "a\\b"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_g39_names_are_checked(name, capsys):
    for path in ("name", "adapters.0.name"):
        words = ["adapters=lora"] if path.startswith("adapters") else []
        with pytest.raises(ConfigError, match=f"{path}: found .*; allowed: 1 to 128 letters"):
            override(preset("tiny"), [*words, f"{path}={json.dumps(name)}"])
    refused(capsys, ["config", name], 2, "is no preset")
    refused(capsys, [f"x{name}"], 2, "is no command")


@pytest.mark.parametrize("name", ["x", "A-1_b.c", "x" * 128])
def test_g39_run_folders_stay_in_runs(name):
    folder = default_folder(override(preset("tiny"), [f"name={name}"]))
    assert folder.parent == Path("runs")


def test_g39_names_within_a_folder_are_constants():
    assert (checkpoint.STATE, checkpoint.META) == ("state", "meta")
    assert (files.WEIGHTS, files.CONFIG) == ("adapter_model.safetensors", "adapter_config.json")


def test_g39_joined_paths_stay_under_the_root(tmp_path):
    (tmp_path / "root").mkdir()
    for name in ("secret", "root/own"):
        (tmp_path / name).write_text("x")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "secret")
    for name in ("../secret", str(tmp_path / "secret"), "link", "own/../../secret"):
        with pytest.raises(DataError, match="a link out of the folder"):
            inside(tmp_path / "root", name, DataError)
    assert inside(tmp_path / "root", "own", DataError).read_text() == "x"
    with pytest.raises(DataError, match="missing"):
        inside(tmp_path / "root", "none", DataError)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a\0b", "no file has such a name"),
        ("x" * 300, "File name too long"),
        ("~nobody-of-this-name/x", "no home folder is known for ~nobody-of-this-name"),
    ],
)
def test_g39_impossible_paths_are_refused(name, said, capsys, tmp_path):
    with pytest.raises(ConfigError, match=said):
        user_path(name)
    if "\0" in name:
        return
    text = ["data=text", f"data.paths={name}"]
    tokenizer = ["data=text", "data.paths=x", f"data.tokenizer={name}"]
    for words in (text, tokenizer, ["data=packed", f"data.path={name}"]):
        refused(capsys, ["data", "inspect", *TINY, *words], 3, said)
    for command in (["train", *TINY, "--run"], ["resume"], ["eval"]):
        refused(capsys, [*command, name], 2, said)


# ---- 40: decompression bombs.


WITHIN_128_MIB = """
import resource, sys
from pathlib import Path
from jaxlin.config.errors import DataError
from jaxlin.data import files
pages = int(Path("/proc/self/statm").read_text().split()[0])
most = pages * resource.getpagesize() + 2**27
resource.setrlimit(resource.RLIMIT_AS, (most, most))
for ratio in (files.MAX_RATIO, 10**6):
    files.MAX_RATIO = ratio
    try:
        files.read_all(Path(sys.argv[1]))
    except (DataError, MemoryError) as error:
        print(repr(error))
"""


def test_g40_a_bomb_fills_no_memory(tmp_path):
    """160 MB of zeros in 160 kB, with 128 MiB to spend. Without the limit they do not suffice."""
    path = tmp_path / "bomb.txt.gz"
    path.write_bytes(gzip.compress(bytes(2**24), 9) * 10)
    done = subprocess.run(
        [sys.executable, "-c", WITHIN_128_MIB, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    limited, control = done.stdout.splitlines()
    assert limited.startswith("DataError") and "decompression bomb" in limited
    assert control.startswith("MemoryError")


@pytest.mark.parametrize("name", ["bomb.txt.gz", "bomb.jsonl.gz", "bomb.TXT.GZ"])
def test_g40_a_bomb_is_refused_by_every_command(tmp_path, capsys, name):
    path, out = tmp_path / name, tmp_path / "out"
    path.write_bytes(gzip.compress(bytes(2**25), 9))
    said = (f"{path}: decompresses to more than 16777216 bytes", "decompression bomb")
    text = ["data=text", f"data.paths={path}"]
    for words in (
        ["train", *TINY, *text, "--run", tmp_path / "run"],
        ["data", "inspect", *TINY, *text],
        ["data", "pack", "--out", out, path],
        ["data", "tokenizer", "--out", out, path],
    ):
        refused(capsys, words, 3, *said, root=tmp_path)


def test_g40_a_bomb_in_a_bomb_is_no_text(tmp_path, capsys):
    inner = gzip.compress(gzip.compress(bytes(2**26), 9), 9)
    for name, content in (("a.txt.gz", inner), ("a.txt", gzip.compress(b"text"))):
        (tmp_path / name).write_bytes(content)
        words = ["data", "inspect", *TINY, "data=text", f"data.paths={tmp_path / name}"]
        refused(capsys, words, 3, f"{name}: not UTF-8", "a name that ends in .gz")


def test_g40_other_archives_are_not_opened(tmp_path, capsys):
    for suffix in (".zst", ".bz2", ".xz", ".zip", ".tar", ".tgz", ".7z"):
        path = tmp_path / f"a.txt{suffix}"
        path.write_bytes(b"text")
        words = ["data", "inspect", *TINY, "data=text", f"data.paths={path}"]
        refused(capsys, words, 3, f"{suffix} is an archive, which is not read as text")


# ---- 41: numbers that are none.

NUMBERS = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf", "1e999": "inf", "-1e999": "-inf"}
FIELDS = ["optim.lr", "optim.weight_decay", "checkpoint.minutes", "data.held_out", "ema"]


@pytest.mark.parametrize("number", NUMBERS)
def test_g41_non_finite_numbers_in_configs_are_refused(tmp_path, capsys, number):
    raw = json.loads(to_json(preset("tiny")))
    for path in FIELDS:
        *parents, last = path.split(".")
        changed = json.loads(json.dumps(raw))
        node = changed
        for parent in parents:
            node = node[parent]
        node[last] = "HERE"
        file = tmp_path / "config.json"
        file.write_text(json.dumps(changed).replace('"HERE"', number))
        words = ["train", "--config", file, "--run", tmp_path / "run"]
        said = f"{path}: found {NUMBERS[number]}; allowed: a number"
        refused(capsys, words, 2, said, root=tmp_path)
        refused(capsys, ["config", "tiny", f"{path}={number}"], 2, f"{path}: found ")


@pytest.mark.parametrize("number", NUMBERS)
def test_g41_non_finite_numbers_in_other_files_are_refused(tmp_path, capsys, number):
    pack(documents(["some text " * 99]), load_tokenizer("bytes"), tmp_path / "p")
    index = tmp_path / "p" / "index.json"
    raw = json.loads(index.read_text())
    packed = ["data", "inspect", *TINY, "data=packed", f"data.path={tmp_path}/p"]
    for field in ("tokens", "documents", "vocab", "bos", "version"):
        index.write_text(json.dumps(raw | {field: "HERE"}).replace('"HERE"', number))
        refused(capsys, packed, 3, "index.json: ", root=tmp_path)
    tokenizer = byte_level_tokenizer(tmp_path / "t.json")
    spec = json.loads(tokenizer.read_text())
    spec["model"]["dropout"] = "HERE"
    tokenizer.write_text(json.dumps(spec).replace('"HERE"', number))
    words = ["data=text", "data.paths=x", f"data.tokenizer={tokenizer}"]
    refused(capsys, ["data", "inspect", *TINY, *words], 3, "t.json: not a tokenizer.json")


@pytest.mark.parametrize("number", NUMBERS)
def test_g41_non_finite_numbers_of_an_adapter_are_refused(tmp_path, number):
    path = saved(tmp_path) / files.CONFIG
    raw = json.loads(path.read_text())
    raw["adapters"][0]["alpha"] = "HERE"
    path.write_text(json.dumps(raw).replace('"HERE"', number))
    with pytest.raises(CheckpointError, match=f"adapters.0.alpha: found {NUMBERS[number]}"):
        load_adapter(path.parent, BASE)


def test_g41_numbers_of_a_text_record_are_not_asked(tmp_path):
    """Only the text counts: the record beside it may hold what it likes."""
    (tmp_path / "a.jsonl").write_text('{"text": "fine", "score": NaN}\n')
    from jaxlin.data.text import read

    (document,) = read(data_files.expand([str(tmp_path / "a.jsonl")], "f"))
    assert document.text == b"fine"
    assert np.isnan(json.loads('{"score": NaN}')["score"])
