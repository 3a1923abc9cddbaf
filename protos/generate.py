"""Generates the Python code beside the .proto files, and comments.json: what they say of each name, which compiled descriptors no longer hold.

With --check, says whether what is committed is what they give; with --release VERSION, keeps the descriptors as those of a release (released/).

Limit: needs the development requirements (grpcio-tools, mypy-protobuf); the running system only imports the result.
"""

import filecmp
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.api import http_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
COMMENTS = "protos/comments.json"
RELEASED = ROOT / "protos" / "released"


def compile_all(*options: str) -> None:
    """Runs protoc on all .proto files with these options."""
    sources = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("protos/*/v1/*.proto"))
    wellknown = Path(protoc.__file__).parent / "_proto"
    googleapis = Path(http_pb2.__file__).parents[2]  # google/api/*.proto lie in the wheel beside their Python
    if protoc.main(["protoc", f"-I{ROOT}", f"-I{wellknown}", f"-I{googleapis}", *options, *sources]) != 0:
        raise SystemExit("protoc refused the .proto files; its words are above")


def describe(into: Path, *, comments: bool = True) -> None:
    """Writes all descriptors, with their comments or without, to one file, as buf reads them: it can't find what lies in a wheel."""
    compile_all("--include_imports", *(["--include_source_info"] if comments else []), f"--descriptor_set_out={into}")


def generate(into: Path) -> None:
    """Writes the generated modules below `into`, in the layout of the repository."""
    plugins = Path(sys.executable).parent
    compile_all(
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        f"--python_out={into}",
        f"--grpc_python_out={into}",
        f"--mypy_out=quiet:{into}",
        f"--mypy_grpc_out=quiet:{into}",
    )
    described = into / "described.binpb"
    describe(described)
    (into / COMMENTS).write_text(json.dumps(comments(described), indent=1, ensure_ascii=False) + "\n")
    for name in ("contract", "facts", "letters", "told"):
        for path in into.glob(f"protos/*/v1/{name}_pb2_grpc.py*"):
            path.unlink()  # no rpc in them; an empty module would only be one more file to read


def comments(described: Path) -> dict[str, str]:
    """What the .proto files of ours say above or behind each message, field, enum, value, service and rpc, by its full name."""
    found: dict[str, str] = {}
    for file in FileDescriptorSet.FromString(described.read_bytes()).file:
        if file.package.startswith("enlace."):
            names = dict(_names(file))
            for location in file.source_code_info.location:
                said = " ".join((location.leading_comments or location.trailing_comments).split())
                if said and tuple(location.path) in names:
                    found[names[tuple(location.path)]] = said
    return dict(sorted(found.items()))


Name = tuple[tuple[int, ...], str]


def _names(file: FileDescriptorProto) -> Iterator[Name]:
    # Paths are those of descriptor.proto: 4 a message, 5 an enum, 6 a service; in a message 2 a field, 3 and 4 what is nested; in the others 2.
    for number, message in enumerate(file.message_type):
        yield from _names_in_message((4, number), f"{file.package}.{message.name}", message)
    for number, enum in enumerate(file.enum_type):
        yield from _names_in_enum((5, number), f"{file.package}.{enum.name}", enum)
    for number, service in enumerate(file.service):
        yield (6, number), f"{file.package}.{service.name}"
        for inner, rpc in enumerate(service.method):
            yield (6, number, 2, inner), f"{file.package}.{service.name}.{rpc.name}"


def _names_in_message(path: tuple[int, ...], name: str, message: DescriptorProto) -> Iterator[Name]:
    yield path, name
    for number, field in enumerate(message.field):
        yield (*path, 2, number), f"{name}.{field.name}"
    for number, nested in enumerate(message.nested_type):
        yield from _names_in_message((*path, 3, number), f"{name}.{nested.name}", nested)
    for number, enum in enumerate(message.enum_type):
        yield from _names_in_enum((*path, 4, number), f"{name}.{enum.name}", enum)


def _names_in_enum(path: tuple[int, ...], name: str, enum: EnumDescriptorProto) -> Iterator[Name]:
    yield path, name
    for number, value in enumerate(enum.value):
        yield (*path, 2, number), f"{name}.{value.name}"


def generated(below: Path) -> dict[str, Path]:
    """The generated files below a folder, by their name relative to it."""
    found = [
        path for pattern in ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi") for path in below.glob(f"protos/*/v1/{pattern}")
    ]
    return {str(path.relative_to(below)): path for path in [*found, *below.glob(COMMENTS)]}


def main() -> int:
    """Returns 0 when fresh (or just written), 1 when --check found a difference."""
    if sys.argv[1:2] == ["--release"]:
        RELEASED.mkdir(exist_ok=True)
        describe(RELEASED / f"{sys.argv[2]}.binpb", comments=False)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        new = Path(folder)
        generate(new)
        fresh, here = generated(new), generated(ROOT)
        stale = sorted(
            name
            for name in fresh.keys() | here.keys()
            if name not in fresh or name not in here or not filecmp.cmp(fresh[name], here[name], shallow=False)
        )
        if "--check" in sys.argv[1:]:
            for name in stale:
                print(f"stale: {name} (run `make protos`)")
            return 1 if stale else 0
        for name in stale:
            if name in fresh:
                shutil.copyfile(fresh[name], ROOT / name)
            else:
                here[name].unlink()
        print(f"{len(fresh)} files, {len(stale)} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
