"""What the decoder of the counting plugin says of words, against GNU's assembler and disassembler."""

from __future__ import annotations

import ctypes
import random
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from tta_lite.measure.device.plugins import NATIVE

HEADER = NATIVE / "a64_classes.h"
KINDS = re.findall(r"^  X\((\w+)\)", HEADER.read_text(), re.MULTILINE)
OBJDUMP = "aarch64-linux-gnu-objdump"

# Assembled by GNU as 2.40; kinds and bytes by hand.
WORDS = (
    (0x14000002, "b .+8", "branch"),
    (0x54000040, "b.eq .+8", "branch"),
    (0x94000002, "bl .+8", "branch"),
    (0xB4000041, "cbz x1, .+8", "branch"),
    (0x37180042, "tbnz w2, #3, .+8", "branch"),
    (0xD61F0060, "br x3", "branch"),
    (0xD65F03C0, "ret", "branch"),
    (0x91001020, "add x0, x1, #4", "integer"),
    (0x528000E0, "movz w0, #7", "integer"),
    (0x90000000, "adrp x0, .", "integer"),
    (0x9A820020, "csel x0, x1, x2, eq", "integer"),
    (0x9AC22020, "lsl x0, x1, x2", "integer"),
    (0x2A020020, "orr w0, w1, w2", "integer"),
    (0x9B020C20, "madd x0, x1, x2, x3", "integer_multiply"),
    (0x9BC27C20, "umulh x0, x1, x2", "integer_multiply"),
    (0x1AC20C20, "sdiv w0, w1, w2", "integer_multiply"),
    (0xF9400020, "ldr x0, [x1]", "load", 8, 0),
    (0xB8626820, "ldr w0, [x1, x2]", "load", 4, 0),
    (0x38801420, "ldrsb x0, [x1], #1", "load", 1, 0),
    (0x79400420, "ldrh w0, [x1, #2]", "load", 2, 0),
    (0xA8C107E0, "ldp x0, x1, [sp], #16", "load", 16, 0),
    (0x29400440, "ldp w0, w1, [x2]", "load", 8, 0),
    (0x69400440, "ldpsw x0, x1, [x2]", "load", 8, 0),
    (0xC85F7C20, "ldxr x0, [x1]", "load", 8, 0),
    (0xC87F0820, "ldxp x0, x2, [x1]", "load", 16, 0),
    (0x88DFFC20, "ldar w0, [x1]", "load", 4, 0),
    (0xF8BFC020, "ldapr x0, [x1]", "load", 8, 0),
    (0x58000040, "ldr x0, .+8", "load", 8, 0),
    (0xF9000020, "str x0, [x1]", "store", 0, 8),
    (0x39000020, "strb w0, [x1]", "store", 0, 1),
    (0xA9BF07E0, "stp x0, x1, [sp, #-16]!", "store", 0, 16),
    (0x889FFC20, "stlr w0, [x1]", "store", 0, 4),
    (0xC8027C20, "stxr w2, x0, [x1]", "store", 0, 8),
    (0x3CC10420, "ldr q0, [x1], #16", "load_simd", 16, 0),
    (0xFD400020, "ldr d0, [x1]", "load_simd", 8, 0),
    (0xBC626820, "ldr s0, [x1, x2]", "load_simd", 4, 0),
    (0xACC10440, "ldp q0, q1, [x2], #32", "load_simd", 32, 0),
    (0x2C400440, "ldnp s0, s1, [x2]", "load_simd", 8, 0),
    (0x4CDF2020, "ld1 {v0.16b, v1.16b, v2.16b, v3.16b}, [x1], #64", "load_simd", 64, 0),
    (0x0C407020, "ld1 {v0.8b}, [x1]", "load_simd", 8, 0),
    (0x4C408420, "ld2 {v0.8h, v1.8h}, [x1]", "load_simd", 32, 0),
    (0x0C404420, "ld3 {v0.4h, v1.4h, v2.4h}, [x1]", "load_simd", 24, 0),
    (0x0D60B020, "ld4 {v0.s, v1.s, v2.s, v3.s}[1], [x1]", "load_simd", 16, 0),
    (0x4D408420, "ld1 {v0.d}[1], [x1]", "load_simd", 8, 0),
    (0x0D400C20, "ld1 {v0.b}[3], [x1]", "load_simd", 1, 0),
    (0x4D40C820, "ld1r {v0.4s}, [x1]", "load_simd", 4, 0),
    (0x4D60C420, "ld2r {v0.8h, v1.8h}, [x1]", "load_simd", 4, 0),
    (0x3D800020, "str q0, [x1]", "store_simd", 0, 16),
    (0x3D000020, "str b0, [x1]", "store_simd", 0, 1),
    (0x6C810420, "stp d0, d1, [x1], #16", "store_simd", 0, 16),
    (0x4D008020, "st1 {v0.s}[2], [x1]", "store_simd", 0, 4),
    (0x4C000020, "st4 {v0.16b, v1.16b, v2.16b, v3.16b}, [x1]", "store_simd", 0, 64),
    (0xF8200041, "ldadd x0, x1, [x2]", "atomic", 8, 8),
    (0x38208041, "swpb w0, w1, [x2]", "atomic", 1, 1),
    (0x88A07C41, "cas w0, w1, [x2]", "atomic", 4, 4),
    (0x48207C82, "casp x0, x1, x2, x3, [x4]", "atomic", 16, 16),
    (0xF980E020, "prfm pldl1keep, [x1, #448]", "prefetch"),
    (0xD8000040, "prfm pldl1keep, .+8", "prefetch"),
    (0x0E22C020, "smull v0.8h, v1.8b, v2.8b", "simd_widening_multiply"),
    (0x4E228020, "smlal2 v0.8h, v1.16b, v2.16b", "simd_widening_multiply"),
    (0x2E62A020, "umlsl v0.4s, v1.4h, v2.4h", "simd_widening_multiply"),
    (0x0F522020, "smlal v0.4s, v1.4h, v2.h[1]", "simd_widening_multiply"),
    (0x0E629020, "sqdmlal v0.4s, v1.4h, v2.4h", "simd_widening_multiply"),
    (0x4E829420, "sdot v0.4s, v1.16b, v2.16b", "dot_product"),
    (0x2FA2E020, "udot v0.2s, v1.8b, v2.4b[1]", "dot_product"),
    (0x4E829C20, "usdot v0.4s, v1.16b, v2.16b", "dot_product"),
    (0x4E82A420, "smmla v0.4s, v1.16b, v2.16b", "dot_product"),
    (0x4E629C20, "mul v0.8h, v1.8h, v2.8h", "simd_multiply"),
    (0x6F820020, "mla v0.4s, v1.4s, v2.s[0]", "simd_multiply"),
    (0x6EA2B420, "sqrdmulh v0.4s, v1.4s, v2.4s", "simd_multiply"),
    (0x4FA2C020, "sqdmulh v0.4s, v1.4s, v2.s[1]", "simd_multiply"),
    (0x4EA28420, "add v0.4s, v1.4s, v2.4s", "simd_integer"),
    (0x4E606820, "sadalp v0.4s, v1.8h", "simd_integer"),
    (0x0E614820, "sqxtn v0.4h, v1.4s", "simd_integer"),
    (0x0F08A420, "sshll v0.8h, v1.8b, #0", "simd_integer"),
    (0x4EA25420, "srshl v0.4s, v1.4s, v2.4s", "simd_integer"),
    (0x4E226420, "smax v0.16b, v1.16b, v2.16b", "simd_integer"),
    (0x4E221C20, "and v0.16b, v1.16b, v2.16b", "simd_integer"),
    (0x4EA09820, "cmeq v0.4s, v1.4s, #0", "simd_integer"),
    (0x4EB1B820, "addv s0, v1.4s", "simd_integer"),
    (0x4E22CC20, "fmla v0.4s, v1.4s, v2.4s", "float_multiply_add"),
    (0x4F821820, "fmla v0.4s, v1.4s, v2.s[2]", "float_multiply_add"),
    (0x4EE2CC20, "fmls v0.2d, v1.2d, v2.2d", "float_multiply_add"),
    (0x1F020C20, "fmadd s0, s1, s2, s3", "float_multiply_add"),
    (0x6E22DC20, "fmul v0.4s, v1.4s, v2.4s", "float"),
    (0x1E622820, "fadd d0, d1, d2", "float"),
    (0x4E22F420, "fmax v0.4s, v1.4s, v2.4s", "float"),
    (0x6E22FC20, "fdiv v0.4s, v1.4s, v2.4s", "float"),
    (0x1E212000, "fcmp s0, s1", "float"),
    (0x6EA1F820, "fsqrt v0.4s, v1.4s", "float"),
    (0x4EA1D820, "frecpe v0.4s, v1.4s", "float"),
    (0x7E30D820, "faddp s0, v1.2s", "float"),
    (0x4E420C20, "fmla v0.8h, v1.8h, v2.8h", "half"),
    (0x4F221020, "fmla v0.8h, v1.8h, v2.h[2]", "half"),
    (0x1EE22820, "fadd h0, h1, h2", "half"),
    (0x1FC20C20, "fmadd h0, h1, h2, h3", "half"),
    (0x4E30F820, "fmaxv h0, v1.8h", "half"),
    (0x4E22EC20, "fmlal v0.4s, v1.4h, v2.4h", "half"),
    (0x6E42FC20, "bfdot v0.4s, v1.8h, v2.8h", "half"),
    (0x1EE24020, "fcvt s0, h1", "convert"),
    (0x0E217820, "fcvtl v0.4s, v1.4h", "convert"),
    (0x4E21A820, "fcvtns v0.4s, v1.4s", "convert"),
    (0x1E220020, "scvtf s0, w1", "convert"),
    (0x4F3DE420, "scvtf v0.4s, v1.4s, #3", "convert"),
    (0x9E780020, "fcvtzs x0, d1", "convert"),
    (0x4F000400, "movi v0.4s, #0", "simd_move"),
    (0x4EA11C20, "mov v0.16b, v1.16b", "simd_move"),
    (0x4E040C20, "dup v0.4s, w1", "simd_move"),
    (0x6E0C4420, "ins v0.s[1], v1.s[2]", "simd_move"),
    (0x0E0C3C20, "umov w0, v1.s[1]", "simd_move"),
    (0x1E270020, "fmov s0, w1", "simd_move"),
    (0x4F03F600, "fmov v0.4s, #1.0", "simd_move"),
    (0x1E220C20, "fcsel s0, s1, s2, eq", "simd_move"),
    (0x4E823820, "zip1 v0.4s, v1.4s, v2.4s", "simd_move"),
    (0x4E020020, "tbl v0.16b, {v1.16b}, v2.16b", "simd_move"),
    (0x6E022020, "ext v0.16b, v1.16b, v2.16b, #4", "simd_move"),
    (0x4EA00820, "rev64 v0.4s, v1.4s", "simd_move"),
    (0xD4000001, "svc #0", "system"),
    (0xD503201F, "nop", "system"),
    (0xD53BD040, "mrs x0, tpidr_el0", "system"),
    (0xD5033BBF, "dmb ish", "system"),
    (0xD50B7420, "dc zva, x0", "system", 0, 64),
    (0x4E284820, "aese v0.16b, v1.16b", "other"),
    (0x04A20020, "add z0.s, z1.s, z2.s", "other"),
)


@pytest.fixture(scope="module")
def decode(tmp_path_factory):
    """word -> kind, bytes loaded, bytes stored."""
    if not (compiler := shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("no C compiler on the path (Debian: gcc)")
    folder = tmp_path_factory.mktemp("decoder")
    source, library = folder / "decoder.c", folder / "decoder.so"
    source.write_text(
        '#include "a64_classes.h"\n'
        "int decode(uint32_t word, uint32_t *loaded, uint32_t *stored) {\n"
        "  struct a64_instruction found = a64_decode(word);\n"
        "  *loaded = found.bytes_loaded, *stored = found.bytes_stored;\n"
        "  return found.kind;\n}\n"
    )
    words = [compiler, "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{NATIVE}"]
    subprocess.run([*words, "-o", str(library), str(source)], check=True)
    function = ctypes.CDLL(str(library)).decode

    def decode(word: int) -> tuple[str, int, int]:
        loaded, stored = ctypes.c_uint32(), ctypes.c_uint32()
        kind = function(ctypes.c_uint32(word), ctypes.byref(loaded), ctypes.byref(stored))
        return KINDS[kind], loaded.value, stored.value

    return decode


def test_words_that_were_assembled(decode):
    for word, text, *expected in WORDS:
        kind, loaded, stored = (*expected, 0, 0)[:3]
        assert decode(word) == (kind, loaded, stored), text


def test_the_words_above_have_every_kind():
    assert {row[2] for row in WORDS} == set(KINDS)


BRANCHES = "b|bc?\\..*|bl|br|blr|ret|reta[ab]|cbn?z|tbn?z|bl?ra[ab]z?|eret(a[ab])?|drps"
SYSTEM = "svc|hvc|smc|brk|hlt|dcps\\d|msr|mrs|sysl?|hint|[dt]sb|dmb|isb|clrex|sb|ssbb|pssbb|t(start|test|commit|cancel)"
SYSTEM += "|nop|yield|wf[ei]t?|sevl?|dgh|esb|psb|csdb|bti|xpaclri|cfinv|[xa]{2}flag|(pac|aut)i[ab](1716|sp|z)"
OF_REGISTERS = (
    (BRANCHES, "branch"),
    (SYSTEM, "system"),
    ("m(add|sub)|[su]m(add|sub)l|[su]mulh|[su]div", "integer_multiply"),
    (".*", "integer"),
)
OF_SIMD = (
    ("aes.*|sha\\d.*|sm[34].*|eor3|bcax|rax1|xar", "other"),
    ("[su]dot|usdot|sudot|[su]mmla|usmmla", "dot_product"),
    ("bfdot|bfmmla|bfmlal[bt]|fml[as]l2?", "half"),
    ("bfcvt.*|fcvt.*|[su]cvtf|fjcvtzs", "convert"),
    ("[su]m(ul|la|ls)l2?|sqdm(ul|la|ls)l2?", "simd_widening_multiply"),
    ("mul|ml[as]|sqr?dmulh|sqrdml[as]h|pmull?2?", "simd_multiply"),
    ("movi|mvni|fmov|dup|ins|[us]mov|(zip|uzp|trn)[12]|tb[lx]|ext|rev\\d+|fcsel", "simd_move"),
    ("fml[as]|fn?madd|fn?msub|fcmla", "float_multiply_add"),
    ("f.*", "float"),
    (".*", "simd_integer"),
)
WIDTHS = {"b": 1, "h": 2, "s": 4, "d": 8, "q": 16, "w": 4, "x": 8}


def kind_of(name: str, operands: str) -> str:
    """A disassembled instruction, without aliases -> its kind, by its name alone."""
    if re.match("prfu?m", name):
        return "prefetch"
    if re.match("cas|swp|(ld|st)(add|clr|eor|set|[su]max|[su]min)", name):
        return "atomic"
    if re.match("(ld|st)z?2?g|ldgm|stg|(ld|st)64b|cpy|set[pmeg]", name):
        return "other"
    if re.match("ld|st", name):
        # The first register of a store-exclusive says whether it was done.
        register = operands.split(",")[1 if re.match("stl?x", name) else 0]
        simd = re.match(r"[ {]*[bhsdqv]\d", register) is not None
        return f"{'load' if name.startswith('ld') else 'store'}{'_simd' if simd else ''}"
    if not re.search(r"\b[vbhsdq]\d+\b", operands):
        return next(kind for pattern, kind in OF_REGISTERS if re.fullmatch(pattern, name))
    parts = [part.strip() for part in operands.split(",")]
    if name == "orr" and len(parts) == 3 and parts[1] == parts[2]:
        return "simd_move"
    kind = next(kind for pattern, kind in OF_SIMD if re.fullmatch(pattern, name))
    half = re.search(r"\.[248]?h\b|\bh\d", operands) is not None
    return "half" if half and kind.startswith("float") else kind


def bytes_of(name: str, operands: str) -> int:
    """A load, store or atomic instruction -> the bytes that it moves, by its name and the names of its registers."""
    if listed := re.match(r"\{v(\d+)\.(\d*)([bhsd])(?:.*v(\d+)\.\w+)?\}(\[\d+\])?", operands):
        first, lanes, width, last, index = listed.groups()
        registers = (int(last or first) - int(first)) % 32 + 1
        return registers * (1 if index or name.endswith("r") else int(lanes)) * WIDTHS[width]
    if name in ("ldraa", "ldrab"):
        return 8
    register = operands.split(",")[1 if re.match("stl?x", name) else 0].strip()
    # The zero register and the stack pointer are as wide as their names say.
    width = WIDTHS["w" if register in ("wzr", "wsp") else "x" if register in ("xzr", "sp") else register[0]]
    for ending, narrow in (("sw", 4), ("b", 1), ("h", 2)):
        width = narrow if name.endswith(ending) else width
    return width * (2 if re.match("ldn?p|stn?p|lda?xp|stl?xp|casp", name) else 1)


def disassembled(words: list[int], folder: Path) -> list[tuple[int, str, str]]:
    """-> word, name and operands of those that are instructions."""
    (folder / "words.bin").write_bytes(struct.pack(f"<{len(words)}I", *words))
    command = [OBJDUMP, "-D", "-z", "-b", "binary", "-m", "aarch64", "-M", "no-aliases", str(folder / "words.bin")]
    found = []
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        _, word, name, *operands = (*line.split("\t"), "", "")[:4] if line.count("\t") >= 2 else ("", "", ".", "")
        if not name.startswith(".") and "undefined" not in line:
            found.append((int(word, 16), name.strip(), operands[0].partition("//")[0].strip()))
    return found


@pytest.mark.skipif(not shutil.which(OBJDUMP), reason=f"no {OBJDUMP} on the path (Debian: binutils-aarch64-linux-gnu)")
def test_random_words_against_the_disassembler(decode, tmp_path):
    draw = random.Random(0)
    # Bits 28 to 25 choose the table. Half of the SIMD words have the low bits of the smaller tables.
    tables = (8, 9, 10, 11, 4, 6, 12, 14, 5, 13, 7, 7, 7, 15, 15, 15)
    words = [draw.getrandbits(32) & ~(0xF << 25) | draw.choice(tables) << 25 for _ in range(60_000)]
    words += [word & ~(0xF << 17) for word in words[::4]] + [word & ~(0xF << 10) | 0x2 << 10 for word in words[::4]]
    seen = set()
    for word, name, operands in disassembled(words, tmp_path):
        kind, loaded, stored = decode(word)
        assert kind == kind_of(name, operands), f"{word:08x} {name} {operands}"
        seen.add(kind)
        if kind.startswith(("load", "store", "atomic")):
            moved = bytes_of(name, operands)
            expected = (0 if kind.startswith("store") else moved, 0 if kind.startswith("load") else moved)
            assert (loaded, stored) == expected, f"{word:08x} {name} {operands}"
    assert seen == set(KINDS)
