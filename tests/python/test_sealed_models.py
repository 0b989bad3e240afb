"""Sealed models in use: the same answers as open ones, nothing on disk, no more memory, clear words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from conftest import FIGURES, Server
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from safetensors.numpy import load_file, save_file
from test_cli import fails
from test_cli import headrace as run

import headrace
import headrace.toy
from headrace.repository import resolve
from headrace.security.seal_keys import KmsCommand, LocalKey, new_key
from headrace.security.sealing import seal

TEXTS = ["the mill wheel turns", "water runs to the mill", "who is maria smith"]


@pytest.fixture(autouse=True)
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalKey:
    """A key that the environment names."""
    for name in ("HEADRACE_SEAL_KEY", "HEADRACE_SEAL_KMS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEADRACE_SEAL_KEY_FILE", str(tmp_path / "seal.key"))
    return new_key(tmp_path / "seal.key")


def sealed(model: str | Path, tmp_path: Path, key: LocalKey, name: str = "sealed") -> Path:
    seal(resolve(model), tmp_path / name, key)
    return tmp_path / name


class TestAnswers:
    def test_every_task(self, tmp_path: Path, key: LocalKey) -> None:
        for task in ("embed", "classify", "rerank", "tag", "answer", "fill_mask"):
            model = headrace.toy.model(task, tmp_path / task)
            with headrace.load(model) as one, headrace.load(sealed(model, tmp_path, key, task + "-s")) as two:
                assert two.info.task == task
                asked = {
                    "embed": lambda m: m.embed(TEXTS).tolist(),
                    "classify": lambda m: m.classify(TEXTS),
                    "rerank": lambda m: m.rerank("mill", TEXTS),
                    "tag": lambda m: m.tag(TEXTS),
                    "answer": lambda m: m.answer("who turns", "maria smith turns the wheel"),
                    "fill_mask": lambda m: m.fill_mask("the [MASK] turns"),
                }[task]
                assert asked(one) == asked(two)

    def test_the_demo_model_bit_for_bit(self, tmp_path: Path, key: LocalKey) -> None:
        with headrace.load("demo:minilm") as one, headrace.load(sealed("demo:minilm", tmp_path, key)) as two:
            assert np.array_equal(one.embed(TEXTS), two.embed(TEXTS))
            assert one.info.prompts == two.info.prompts

    def test_folders_of_sentence_transformers(self, tmp_path: Path, key: LocalKey) -> None:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer import modules as models

        word = models.Transformer(str(Path(__file__).parents[1] / "golden" / "tiny_bert"))
        width = word.get_embedding_dimension()
        made = SentenceTransformer(
            modules=[word, models.Pooling(width, "max"), models.Dense(width, 24), models.Normalize()]
        )
        made.save(str(tmp_path / "st"))
        with (
            headrace.load(tmp_path / "st") as one,
            headrace.load(sealed(tmp_path / "st", tmp_path, key)) as two,
        ):
            assert two.info.dimensions == 24
            assert np.array_equal(one.embed(TEXTS), two.embed(TEXTS))

    def test_weights_in_several_files(self, tmp_path: Path, key: LocalKey) -> None:
        model = headrace.toy.model("embed", tmp_path / "toy")
        with headrace.load(model) as one:
            expected = one.embed(TEXTS)
        tensors = load_file(model / "model.safetensors")
        (model / "model.safetensors").unlink()
        names = {f"model-0000{i + 1}-of-00002.safetensors": sorted(tensors)[i::2] for i in (0, 1)}
        for name, part in names.items():
            save_file({tensor: tensors[tensor] for tensor in part}, model / name)
        index = {"weight_map": {tensor: name for name, part in names.items() for tensor in part}}
        (model / "model.safetensors.index.json").write_text(json.dumps(index))
        with headrace.load(sealed(model, tmp_path, key)) as two:
            assert np.array_equal(expected, two.embed(TEXTS))

    def test_a_gguf_with_its_chat_template(self, tmp_path: Path, key: LocalKey) -> None:
        asked = [{"role": "user", "content": "What is the capital of France?"}]
        with headrace.load("demo:smollm2") as one:
            expected = one.generate(asked, temperature=0, max_tokens=12).text
        path = sealed("demo:smollm2", tmp_path, key)
        with headrace.load(path) as two:
            assert two.generate(asked, temperature=0, max_tokens=12).text == expected
        assert headrace.Tokenizer.from_model(path).encode("hello").ids

    def test_chat_templates_and_tokenizers_of_a_folder(self, tmp_path: Path, key: LocalKey) -> None:
        model = headrace.toy.model("embed", tmp_path / "toy")
        (model / "chat_template.jinja").write_text("{{ messages[0].content }}")
        path = sealed(model, tmp_path, key)
        tokenizer = headrace.Tokenizer.from_model(path)
        assert tokenizer.encode("the mill").ids == headrace.Tokenizer.from_model(model).encode("the mill").ids
        chat = headrace.ChatTemplate.from_model(path, tokenizer)
        assert chat.source == "{{ messages[0].content }}"

    def test_add_and_replace_in_an_engine(self, tmp_path: Path, key: LocalKey) -> None:
        paths = [
            sealed(headrace.toy.model("embed", tmp_path / f"toy{i}", seed=i), tmp_path, key, f"sealed{i}")
            for i in (0, 1)
        ]
        with headrace.Engine(threads=1) as engine:
            before = engine.add("toy", paths[0]).embed("the mill")
            after = engine.replace("toy", paths[1]).embed("the mill")
            assert not np.array_equal(before, after)
            (paths[0] / "config.json.sealed").unlink()
            with pytest.raises(headrace.ModelNotFoundError, match="no such file, though sealed"):
                engine.replace("toy", paths[0])
            assert np.array_equal(engine.model("toy").embed("the mill"), after)

    def test_numbered_versions(self, tmp_path: Path, key: LocalKey) -> None:
        for version in ("9", "10"):
            model = headrace.toy.model("embed", tmp_path / f"toy{version}", seed=int(version))
            seal(model, tmp_path / "models" / "toy" / version, key)
        with headrace.load(tmp_path / "models" / "toy") as newest, headrace.load(tmp_path / "toy10") as open_:
            assert np.array_equal(newest.embed(TEXTS), open_.embed(TEXTS))


def test_the_server_serves_sealed_models(tmp_path: Path, key: LocalKey) -> None:
    seal(headrace.toy.model("embed", tmp_path / "plain"), tmp_path / "models" / "toy", key)
    with (
        headrace.load(tmp_path / "plain") as model,
        Server(str(tmp_path / "models")) as server,
    ):
        body = {"model": "toy", "input": TEXTS}
        data = httpx2.post(f"{server.url}/v1/embeddings", json=body, timeout=60).json()["data"]
        found = np.array([row["embedding"] for row in data], np.float32)
        assert np.array_equal(found, model.embed(TEXTS))
        assert server.stop() == 0


class TestKeys:
    @pytest.fixture
    def path(self, tmp_path: Path, key: LocalKey) -> Path:
        return sealed(headrace.toy.model("embed", tmp_path / "toy"), tmp_path, key)

    def test_from_the_environment(self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        text = (tmp_path / "seal.key").read_text()
        assert (tmp_path / "seal.key").stat().st_mode & 0o777 == 0o600
        monkeypatch.setenv("HEADRACE_SEAL_KEY", text)
        with pytest.raises(headrace.InvalidArgumentError, match="KEY and HEADRACE_SEAL_KEY_FILE are set"):
            headrace.load(path)
        monkeypatch.delenv("HEADRACE_SEAL_KEY_FILE")
        with headrace.load(path) as model:
            assert model.embed("the mill").shape == (1, 32)
        monkeypatch.setenv("HEADRACE_SEAL_KEY", "bm90IGEga2V5")
        with pytest.raises(headrace.InvalidArgumentError, match="not a sealing key, which is 32 bytes"):
            headrace.load(path)
        monkeypatch.delenv("HEADRACE_SEAL_KEY")
        with pytest.raises(headrace.InvalidArgumentError, match="no key is given; a sealed model needs one"):
            headrace.load(path)

    def test_the_wrong_one(self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        other = new_key(tmp_path / "other.key")
        monkeypatch.setenv("HEADRACE_SEAL_KEY_FILE", str(tmp_path / "other.key"))
        with pytest.raises(headrace.InvalidArgumentError, match=f"wrong key: .* key given is {other.id}"):
            headrace.load(path)
        monkeypatch.setenv("HEADRACE_SEAL_KEY_FILE", str(tmp_path / "none.key"))
        with pytest.raises(headrace.InvalidArgumentError, match="no such key file"):
            headrace.load(path)

    def test_from_a_kms(self, kms: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        key = KmsCommand(wrap_command=f"{kms} wrap", id="prod/7")
        seal(tmp_path / "toy", tmp_path / "by-kms", key)
        manifest = json.loads((tmp_path / "by-kms" / "sealed.json").read_text())
        assert manifest["key"]["id"] == "prod/7"
        with pytest.raises(headrace.InvalidArgumentError, match="set HEADRACE_SEAL_KMS"):
            headrace.load(tmp_path / "by-kms")
        monkeypatch.delenv("HEADRACE_SEAL_KEY_FILE")
        monkeypatch.setenv("HEADRACE_SEAL_KMS", f"{kms} unwrap")
        with headrace.load(tmp_path / "by-kms") as model, headrace.load(tmp_path / "toy") as open_:
            assert np.array_equal(model.embed(TEXTS), open_.embed(TEXTS))
        with pytest.raises(headrace.InvalidArgumentError, match="not by a KMS"):
            headrace.load(path)
        monkeypatch.setenv("HEADRACE_SEAL_KMS", f"{kms} refuse")
        with pytest.raises(headrace.InvalidArgumentError, match="exit code 3 for the key prod/7: refused"):
            headrace.load(tmp_path / "by-kms")
        monkeypatch.setenv("HEADRACE_SEAL_KMS", "/nonexistent/kms")
        with pytest.raises(headrace.InvalidArgumentError, match="cannot be run: No such file"):
            headrace.load(tmp_path / "by-kms")


KMS_SERVER = """
import os, socket, sys
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
aead, nonce_size = AESGCM(AESGCM.generate_key(256)), 12  # the key is in this process only
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        connection, _ = server.accept()
        with connection, connection.makefile("rwb") as stream:
            action, identity, data = stream.readline().split()
            data = bytes.fromhex(data.decode())
            nonce = os.urandom(nonce_size) if action == b"wrap" else data[:nonce_size]
            if action == b"wrap":
                answer = nonce + aead.encrypt(nonce, data, identity)
            else:
                answer = aead.decrypt(nonce, data[nonce_size:], identity)
            stream.write(answer.hex().encode() + b"\\n")
"""
KMS_CLIENT = """
import os, socket, sys
port, action = int(sys.argv[1]), sys.argv[2]
if action == "refuse":
    sys.exit(print("refused", file=sys.stderr) or 3)
with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rwb") as stream:
    stream.write(f"{action} {os.environ['HEADRACE_SEAL_KEY_ID']} {sys.stdin.buffer.read().hex()}\\n".encode())
    stream.flush()
    sys.stdout.buffer.write(bytes.fromhex(stream.readline().decode()))
"""


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[str]:
    """A key management service in a process of its own; the command that asks it."""
    (tmp_path / "kms_client.py").write_text(KMS_CLIENT)
    with subprocess.Popen([sys.executable, "-c", KMS_SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        yield f"{sys.executable} {tmp_path / 'kms_client.py'} {port}"
        server.kill()


WATCHED = """
import os, sys
opened = []
def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            opened.append(path)
sys.addaudithook(watch)
import headrace
model = headrace.load(sys.argv[1])
model.embed("the mill wheel")
maps = [line.split(maxsplit=5)[5] for line in open("/proc/self/maps").read().splitlines() if line.count("/")]
files = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")[:-1]]
print(repr((opened, maps, files)))
model.close()
"""


def test_nothing_is_written_to_disk(tmp_path: Path, key: LocalKey) -> None:
    path = sealed(headrace.toy.model("embed", tmp_path / "plain"), tmp_path, key)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = tree(path)
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(path)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=scratch,
        check=True,
    )
    opened, maps, files = eval(done.stdout)
    assert opened == []
    assert list(scratch.iterdir()) == []
    assert tree(path) == before
    for held in [*maps, *files]:
        if held.startswith(sys.prefix + "/"):
            continue  # an extension module: the environment itself may lie below /tmp
        assert not held.startswith((str(tmp_path), "/tmp/", "/dev/shm", "/memfd")), held
        assert "(deleted)" not in held


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


PEAK = """
import sys, headrace
model = headrace.load(sys.argv[1], threads=1, precision="f32")
model.embed("the mill wheel")
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(status["VmHWM"].split()[0], status["VmRSS"].split()[0])
"""


@pytest.mark.slow
def test_memory_is_that_of_an_open_model(
    tmp_path: Path, key: LocalKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_HIDDEN", 768), ("_LAYERS", 10), ("_FEED_FORWARD", 3072)):
        monkeypatch.setattr(headrace.toy, name, value)
    plain = headrace.toy.model("embed", tmp_path / "plain")
    size = (plain / "model.safetensors").stat().st_size
    assert size > 280e6
    path = sealed(plain, tmp_path, key)
    (open_peak, open_now), (peak, now) = (
        (int(n) * 1024 for n in subprocess.check_output([sys.executable, "-c", PEAK, str(p)]).split())
        for p in (plain, path)
    )
    FIGURES.append(
        f"sealed model of {size / 1e6:.0f} MB: peak {peak / 1e6:.0f} MB, then {now / 1e6:.0f} MB; "
        f"open: peak {open_peak / 1e6:.0f} MB, then {open_now / 1e6:.0f} MB"
    )
    assert peak <= 1.1 * open_peak
    assert now <= 1.1 * open_now


class TestCommands:
    def test_the_way_of_a_model(self, tmp_path: Path) -> None:
        model = headrace.toy.model("embed", tmp_path / "toy")
        key, out, back = (str(tmp_path / name) for name in ("my.key", "out", "back"))
        assert "a new key, its id" in run("seal", "--new-key", key).stdout
        assert "is there already" in fails("seal", "--new-key", key)
        assert "4 files, sealed" in run("seal", str(model), "-o", out, "--key-file", key).stdout
        assert "every segment are what was sealed" in run("verify", out, "--key-file", key).stdout
        assert "wrong key" in fails("verify", out)
        assert "4 files, not encrypted" in run("unseal", out, "-o", back, "--key-file", key).stdout
        assert tree(model) == {
            name.replace(back, str(model)): data for name, data in tree(Path(back)).items()
        }
        with open(Path(out) / "config.json.sealed", "r+b") as file:
            file.write(b"x")
        done = run("verify", out, "--key-file", key, "--json")
        assert done.returncode == 1
        told = json.loads(done.stdout)
        assert not told["ok"]
        assert "config.json.sealed: its header is damaged" in told["problems"][0]
        assert "its header is damaged" in fails("unseal", out, "-o", back + "2", "--key-file", key)
        assert not Path(back + "2").exists()
        assert [path.name for path in tmp_path.glob(".*")] == []

    def test_a_manifest_alone(self, tmp_path: Path) -> None:
        model = str(headrace.toy.model("embed", tmp_path / "toy"))
        assert "neither sealed.json nor checksums.json" in fails("verify", model)
        assert "4 files in checksums.json" in run("seal", model, "--manifest-only").stdout
        assert run("verify", model).returncode == 0
        (tmp_path / "toy" / "config.json").write_text("{}")
        assert run("verify", model).returncode == 1

    @pytest.mark.parametrize("is_sealed", [True, False])
    def test_signatures(self, is_sealed: bool, tmp_path: Path) -> None:
        private, public, other = (tmp_path / name for name in ("my.pem", "my.pub.pem", "other.pub.pem"))
        for path, secret in ((public, private), (other, tmp_path / "other.pem")):
            pair = ec.generate_private_key(ec.SECP256R1())
            secret.write_bytes(pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            path.write_bytes(pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        folder = headrace.toy.model("embed", tmp_path / "toy")
        if is_sealed:
            run("seal", str(folder), "-o", str(tmp_path / "sealed"), "--sign-key", str(private))
            folder = tmp_path / "sealed"
        else:
            run("seal", str(folder), "--manifest-only", "--sign-key", str(private))
        verify = ("verify", str(folder), "--public-key")
        assert run(*verify, str(public)).returncode == 0
        with headrace.load(folder) as model:
            assert model.info.task == "embed"
        assert run(*verify, str(other)).returncode == 1
        assert "not a public key in PEM" in fails(*verify, str(folder / "model.sig"))
        (folder / "added.json").write_text("{}")
        assert "does not fit the files" in run(*verify, str(public)).stdout
        (folder / "added.json").unlink()
        (folder / "model.sig").write_text((folder / "model.sig").read_text().replace('"sig":"', '"sig":"A'))
        assert "does not fit the files" in run(*verify, str(public)).stdout
        (folder / "model.sig").unlink()
        assert "no such file: make one by" in fails(*verify, str(public))

    def test_refusals_are_one_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        model = str(headrace.toy.model("embed", tmp_path / "toy"))
        assert "give the model to seal" in fails("seal")
        assert "-o SEALED" in fails("seal", model)
        assert "is there already" in fails("seal", model, "-o", model)
        assert "no such model directory" in fails("seal", model + "none", "-o", model + "2")
        assert "go together" in fails("seal", model, "-o", model + "2", "--kms-wrap", "x")
        assert "not a sealed model" in fails("unseal", model, "-o", model + "2")
        run("seal", model, "-o", model + "2")
        assert "is sealed already" in fails("seal", model + "2", "-o", model + "3")
        monkeypatch.delenv("HEADRACE_SEAL_KEY_FILE")
        assert "no key is given" in fails("embed", model + "2", "hello")
