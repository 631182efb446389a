"""Mutations of pickles by opcode, in the zip files that torch writes today and in its older format."""

from __future__ import annotations

import io
import pickletools
import zipfile
from random import Random

from tests.fuzz.canary import MODULE
from tests.fuzz.texts import mutate_bytes

CALLS = (
    f"c{MODULE}\ncall\n)R0".encode(),
    f"c{MODULE}\nCanary\n)\x810".encode(),
    b"cos\nsystem\n(Vtrue\ntR0",
    b"cbuiltins\nexec\n(Vimport tests.fuzz.canary\ntR0",
    b"cbuiltins\neval\n(V__import__('tests.fuzz.canary')\ntR0",
    b"cbuiltins\ngetattr\n(cos\nVsystem\ntR(Vtrue\ntR0",
    b"(Vtests.fuzz.canary\nicbuiltins\n__import__\n0",
    b"ctorch.hub\nload\n(Vx\nVy\ntR0",
    b"cnumpy.f2py.diagnose\nrun\n)R0",
)
"""Opcodes that call something and drop the result; put before any opcode, they leave the rest in order."""

NAMES = (
    f"c{MODULE}\nCanary\n".encode(), b"cos\nsystem\n", b"cbuiltins\neval\n", b"cbuiltins\ngetattr\n", b"ccollections\nOrderedDict\n",
    b"ctorch\nQInt8Storage\n", b"ctorch._utils\n_rebuild_sparse_tensor\n", b"ctorch._utils\n_rebuild_qtensor\n",
    b"ctorch._utils\n_rebuild_parameter\n", b"cargparse\nNamespace\n", b"c_codecs\nencode\n", b"cnumpy\ndtype\n",
)  # fmt: skip
VALUES = (
    b"K\x00",
    b"K\x01",
    b"J\xff\xff\xff\xff",
    b"J\xff\xff\xff\x7f",
    b"N",
    b"\x88",
    b"\x89",
    b"X\x00\x00\x00\x00",
    b")",
    b"}",
    b"]",
    b"G\x7f\xf8\0\0\0\0\0\0",
)


def mutate_pickle(draw: Random, data: bytes) -> tuple[bytes, str]:
    """Return a changed pickle, and what was changed."""
    operations = list(pickletools.genops(data))
    starts = [position or 0 for _, _, position in operations] + [len(data)]
    number = draw.randrange(len(operations))
    start, end = starts[number], starts[number + 1]
    name = operations[number][0].name
    match draw.randrange(8):
        case 0:
            return data[:start] + data[end:], f"without {name} at {start}"
        case 1:
            return data[:end] + data[start:], f"{name} at {start} twice"
        case 2:
            other = draw.randrange(len(operations))
            piece = data[starts[other] : starts[other + 1]]
            return data[:start] + piece + data[
                end:
            ], f"{operations[other][0].name} for {name} at {start}"
        case 3:
            return data[:start] + draw.choice(VALUES) + data[
                end:
            ], f"a value for {name} at {start}"
        case 4:
            return data[:start] + draw.choice(NAMES) + data[
                end:
            ], f"a name for {name} at {start}"
        case 5:
            return mutate_bytes(draw, data)
    # Not before the protocol.
    place = max(start, starts[1])
    return data[:place] + draw.choice(CALLS) + data[place:], f"a call at {place}"


def mutate_torch_file(draw: Random, data: bytes) -> tuple[bytes, str]:
    """Return a changed file of `torch.save`, and what was changed."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return _mutate_legacy(draw, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice(list(members))
    kind = draw.randrange(10)
    if kind == 0:
        del members[name]
        what = f"without {name}"
    elif kind == 1:
        members[name], what = mutate_bytes(draw, members[name])
    elif kind == 2:
        members[draw.choice(list(members))] = members[name]
        what = f"{name} twice"
    else:
        name = next((other for other in members if other.endswith("data.pkl")), name)
        members[name], what = (
            mutate_pickle(draw, members[name]) if members[name] else (b"", "empty")
        )
    made = io.BytesIO()
    compression = zipfile.ZIP_DEFLATED if draw.random() < 0.02 else zipfile.ZIP_STORED
    with zipfile.ZipFile(made, "w", compression) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return made.getvalue(), f"{name}: {what}"


def _mutate_legacy(draw: Random, data: bytes) -> tuple[bytes, str]:
    """Mutate one of the pickles with which an older file begins."""
    stream, spans = io.BytesIO(data), []
    for _ in range(5):
        start = stream.tell()
        try:
            for _ in pickletools.genops(stream):
                pass
        except ValueError:
            break
        spans.append((start, stream.tell()))
    if not spans:
        return mutate_bytes(draw, data)
    start, end = draw.choice(spans)
    changed, what = mutate_pickle(draw, data[start:end])
    return data[:start] + changed + data[end:], what
