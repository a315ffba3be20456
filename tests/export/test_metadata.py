from __future__ import annotations

import base64
import io
import struct
import zipfile

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils

from tta_lite.export.contents import Contents, Op, read_contents
from tta_lite.export.metadata import label_file, metadata_fault, metadata_record
from tta_lite.export.metadata_file import network_in, read_metadata, with_metadata
from tta_lite.export.metadata_tables import pack, unpack
from tta_lite.export.runner import KERNELS, Edge, TFLitePredictor
from tta_lite.models.backbones import IMAGENET, Normalisation
from tta_lite.types import InputError

JOINTS = ["head", "neck", "left knee", "Fuß"]
CLASSES = ["cat", "dog", "Straße", "red, or green", "5"]
RECORD = {"name": "net", "subgraph_metadata": [{}], "min_parser_version": "1.0.0"}

# The metadata of `_classifier`, as the classes of the package tflite-support 0.4.4 write it (`ModelMetadataT.Pack`).
# Its `MetadataDisplayer` and its `ImageClassifier` read files of this library with the same record.
FROM_TFLITE_SUPPORT = base64.b64decode(
    "HAAAAE0wMDEUABwAGAAUABAADAAIAAAAAAAEABQAAAAYAAAAIAAAACwAAACoAgAArAIAANgCAAAFAAAAMS4wLjAAAAAJAAAAQS4gQXV0aG9y"
    "AAAAAQAAABAAAAAMAAwAAAAAAAgABAAMAAAACAAAAEgBAAABAAAAGAAAAAAAEgAYABQAEAAAAAwAAAAIAAQAEgAAABQAAACIAAAAoAAAALAA"
    "AAAAAQAAAQAAABAAAAAAAAoAEAAMAAgABwAKAAAAAAAAAggAAABIAAAAPAAAAFdoYXQgdGhlIHBsYWNlcyBvZiB0aGUgbGFzdCBkaW1lbnNp"
    "b24gYXJlIGNhbGxlZCwgb25lIGEgbGluZQAAAAAKAAAAbGFiZWxzLnR4dAAA8P7//wgAAAAMAAAAAQAAAAAAAAABAAAAAACAPyD///8MAAAA"
    "AAAAAQQABAAEAAAATAAAAGZsb2F0MzIgWzEsIDVdOiBvbmUgdmFsdWUgZm9yIGVhY2ggbGFiZWwsIGluIHRoZSBvcmRlciBvZiB0aGUgbGFz"
    "dCBkaW1lbnNpb24AAAAADQAAAHByb2JhYmlsaXRpZXMAAAABAAAAFAAAABAAGAAUABAAAAAMAAgABAAQAAAAFAAAADwAAACQAAAApAAAAOQA"
    "AAC4////CAAAABQAAAADAAAAvYsHwCVJAsAJ+Oa/AwAAAB3uD0C3bRtAw/UoQAEAAAAMAAAACAAMAAsABAAIAAAAEAAAAAAAAAEIAAwACAAE"
    "AAgAAAAIAAAAFAAAAAMAAAB7lGlC4XpkQgCAZUIDAAAAmln3QlyP6EJcD89CCAAKAAkABAAIAAAADAAAAAACBgAIAAcABgAAAAAAAAE+AAAA"
    "UkdCIGltYWdlLCBmbG9hdDMyIFsxLCAzMiwgMzIsIDNdOiBwaXhlbHMgMCB0byAyNTUsIG5vcm1hbGlzZWQAAAUAAABpbWFnZQAAAAEAAAAz"
    "AAAAKQAAAE1hZGUgYnkgdHRhX2xpdGUgMC4xLjAgZm9yIEZpcmVmbHkgUkszMzk5AAAADAAAAG5ldCBjbHNfZnAzMgAAAAA="
)


def _classifier(dtype="float32", scale=0.0, zero_point=0, out_scale=0.0, last_op="SOFTMAX"):
    image = Edge("image", 0, (1, 32, 32, 3), np.dtype(dtype), scale, zero_point)
    scores = Edge("probabilities", 3, (1, 5), np.dtype(dtype), out_scale, -128 if out_scale else 0)
    ops = (Op(0, "CONV_2D", 1, (0,), (1,)), Op(1, last_op, 1, (1,), (2,)), Op(2, "RESHAPE", 1, (2,), (3,)))
    contents = Contents(ops, (), (0,), (3,), 0)
    return metadata_record(
        contents,
        image,
        scores,
        name="net cls_fp32",
        description="Made by tta_lite 0.1.0 for Firefly RK3399",
        version="3",
        author="A. Author",
        normalisation=IMAGENET,
        labels=CLASSES,
    )


def _record(tflite, **known):
    found = TFLitePredictor(tflite)
    return metadata_record(read_contents(tflite), found.input, found.output, name="net", **known)


# A reader of its own, by the field numbers of metadata_schema.fbs: no code of the library, none of flatbuffers.
class Table:
    def __init__(self, data, at):
        self.data, self.at = data, at
        self.vtable = at - struct.unpack_from("<i", data, at)[0]

    def place(self, field):
        (size,) = struct.unpack_from("<H", self.data, self.vtable)
        entry = 4 + 2 * field
        (offset,) = struct.unpack_from("<H", self.data, self.vtable + entry) if entry < size else (0,)
        return self.at + offset if offset else None

    def scalar(self, field, form):
        place = self.place(field)
        return 0 if place is None else struct.unpack_from(f"<{form}", self.data, place)[0]

    def target(self, field):
        place = self.place(field)
        return None if place is None else place + struct.unpack_from("<I", self.data, place)[0]

    def table(self, field):
        return Table(self.data, self.target(field))

    def text(self, field):
        at = self.target(field)
        return None if at is None else self.data[at + 4 : at + 4 + self.count(at)].decode()

    def count(self, at):
        return struct.unpack_from("<I", self.data, at)[0]

    def floats(self, field):
        at = self.target(field)
        return None if at is None else list(struct.unpack_from(f"<{self.count(at)}f", self.data, at + 4))

    def tables(self, field):
        at = self.target(field)
        places = [] if at is None else range(at + 4, at + 4 + 4 * self.count(at), 4)
        return [Table(self.data, place + struct.unpack_from("<I", self.data, place)[0]) for place in places]


def _root(data):
    return Table(data, struct.unpack_from("<I", data)[0])


def test_the_tables_hold_what_the_schema_puts_there():
    data = pack(_classifier())
    assert data[4:8] == b"M001"
    model = _root(data)
    assert (model.text(0), model.text(2), model.text(4), model.text(5)) == ("net cls_fp32", "3", "A. Author", None)
    assert (model.text(1), model.text(7)) == ("Made by tta_lite 0.1.0 for Firefly RK3399", "1.0.0")
    (graph,) = model.tables(3)
    (image,), (scores,) = graph.tables(2), graph.tables(3)
    assert (image.text(0), scores.text(0)) == ("image", "probabilities")
    # ContentProperties: 1 FeatureProperties, 2 ImageProperties; ColorSpaceType: 1 RGB.
    assert image.table(3).scalar(0, "B") == 2 and image.table(3).table(1).scalar(0, "b") == 1
    assert scores.table(3).scalar(0, "B") == 1 and scores.table(3).place(2) is None
    # ProcessUnitOptions: 1 NormalizationOptions, mean and std for pixels 0..255.
    (unit,) = image.tables(4)
    assert unit.scalar(0, "B") == 1
    assert unit.table(1).floats(0) == pytest.approx([123.675, 116.28, 103.53])
    assert unit.table(1).floats(1) == pytest.approx([58.395, 57.12, 57.375])
    # By hand: (255 - 123.675) / 58.395 and (0 - 123.675) / 58.395, and so on.
    assert image.table(5).floats(0) == pytest.approx([2.2489, 2.4286, 2.64], abs=1e-4)
    assert image.table(5).floats(1) == pytest.approx([-2.1179, -2.0357, -1.8044], abs=1e-4)
    assert (scores.table(5).floats(0), scores.table(5).floats(1)) == ([1.0], [0.0])
    # AssociatedFileType: 2 TENSOR_AXIS_LABELS.
    (file,) = scores.tables(6)
    assert (file.text(0), file.scalar(2, "b")) == ("labels.txt", 2)


def test_it_reads_what_another_writer_wrote():
    assert unpack(FROM_TFLITE_SUPPORT) == unpack(pack(_classifier())) != {}


def test_of_an_integer_network_the_stored_values_are_told():
    # The network takes -2.1 to 2.6, here in steps of 1/32, 10 standing for 0; softmax in steps of 1/256 from -128.
    record = _classifier("int8", 1 / 32, 10, out_scale=1 / 256)
    (image,) = record["subgraph_metadata"][0]["input_tensor_metadata"]
    (unit,) = image["process_units"]
    # As for the float network: the reader quantises afterwards.
    assert unit["options"]["NormalizationOptions"]["mean"] == pytest.approx([123.675, 116.28, 103.53])
    assert "then quantised" in image["description"]
    # By hand: 2.2489 * 32 + 10 = 82, 2.4286 * 32 + 10 = 88, 2.64 * 32 + 10 = 94; -57.8, -55.1, -47.7.
    assert image["stats"] == {"max": [82.0, 88.0, 94.0], "min": [-58.0, -55.0, -48.0]}
    (scores,) = record["subgraph_metadata"][0]["output_tensor_metadata"]
    assert scores["stats"] == {"max": [127.0], "min": [-128.0]}


def test_scores_that_are_no_probabilities_have_no_range():
    assert "stats" not in _classifier(last_op="FULLY_CONNECTED")["subgraph_metadata"][0]["output_tensor_metadata"][0]


@pytest.mark.parametrize("preset", ["fp32", "int8"])
def test_heat_maps_are_told_as_maps(files, preset):
    record = _record(files[preset], normalisation=Normalisation((127.5,) * 3, (127.5,) * 3), labels=JOINTS)
    tflite, _ = with_metadata(files[preset], record, {"labels.txt": label_file(JOINTS)})
    # Compared as a reader finds it.
    (graph,) = read_metadata(tflite)[0]["subgraph_metadata"]
    (maps,) = graph["output_tensor_metadata"]
    assert maps["name"] == "heatmaps" and "[1, 64, 64, 4]: one map for each label" in maps["description"]
    assert maps["content"] == {"content_properties": {"FeatureProperties": {}}, "range": {"min": 1, "max": 2}}
    assert [file["name"] for file in maps["associated_files"]] == ["labels.txt"] and "stats" not in maps


def test_what_is_not_known_is_left_out(files):
    record = _record(files["fp32"])
    assert set(record) == {"name", "subgraph_metadata", "min_parser_version"}
    (graph,) = record["subgraph_metadata"]
    assert graph["input_tensor_metadata"] == [{"name": "image", "description": "float32 [1, 64, 64, 3]"}]
    assert set(graph["output_tensor_metadata"][0]) == {"name", "description", "content"}
    # A normalisation of three channels says nothing of a tensor without them.
    grey = Edge("x", 0, (1, 8, 8, 1), np.dtype(np.float32))
    told = metadata_record(read_contents(files["fp32"]), grey, grey, name="n", normalisation=IMAGENET)
    assert set(told["subgraph_metadata"][0]["input_tensor_metadata"][0]) == {"name", "description"}


@pytest.mark.parametrize("preset", ["fp32", "fp16", "dynamic", "int8"])
def test_the_network_is_the_same_byte_for_byte_and_computes_the_same(files, images, preset):
    network = files[preset]
    labels = label_file(JOINTS)
    tflite, offset = with_metadata(network, _record(network, labels=JOINTS), {"labels.txt": labels})
    assert tflite[offset : offset + len(network)] == network == network_in(tflite, offset, len(network))
    # Little: as docs/artifact.md says.
    assert offset % 16 == 0 and len(tflite) - len(network) < 1536
    for kernels in KERNELS:
        one, other = (TFLitePredictor(content, kernels=kernels) for content in (network, tflite))
        assert (one.input, one.output) == (other.input, other.output)
        for image in images[:2]:
            stored = one.input.quantise(image[None])
            assert np.array_equal(one.run(stored), other.run(stored))


@pytest.mark.parametrize("rest", [0, 3, 8])
def test_constants_stay_on_16_bytes_and_other_entries_stay(files, rest):
    network = files["int8"] + bytes(rest)
    tflite, offset = with_metadata(network, RECORD, {})
    assert tflite[4:8] == b"TFL3" and tflite[offset : offset + len(network)] == network
    before, after = (schema.Model.GetRootAs(content) for content in (network, tflite))
    assert after.BuffersLength() == before.BuffersLength() + 1
    for i in range(after.BuffersLength()):
        if after.Buffers(i).DataLength():
            assert after.Buffers(i)._tab.Vector(after.Buffers(i)._tab.Offset(4)) % 16 == 0
    names = [[model.Metadata(i).Name() for i in range(model.MetadataLength())] for model in (before, after)]
    assert names[1] == [*names[0], b"TFLITE_METADATA"]
    assert (after.Version(), after.Description()) == (before.Version(), before.Description())
    assert after.SignatureDefs(0).SignatureKey() == b"serving_default"
    # Another program's way of reading it all: unpacked, and written anew from its beginning.
    model = flatbuffer_utils.read_model_from_bytearray(tflite)
    interpreter = Interpreter(model_content=bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    interpreter.allocate_tensors()


def test_the_labels_are_a_zip_behind_the_network(files):
    network = files["int8"]
    tflite, offset = with_metadata(network, _record(network, labels=JOINTS), {"labels.txt": label_file(JOINTS)})
    with zipfile.ZipFile(io.BytesIO(tflite)) as archive:
        assert archive.testzip() is None
        (entry,) = archive.infolist()
        assert (entry.filename, entry.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
        assert archive.read(entry).decode() == "head\nneck\nleft knee\nFuß\n"
    # From the beginning of the file, as readers count that do not look for what stands before an archive.
    assert tflite[entry.header_offset : entry.header_offset + 4] == b"PK\x03\x04"
    assert entry.header_offset >= offset + len(network)
    assert with_metadata(network, _record(network, labels=JOINTS), {"labels.txt": label_file(JOINTS)})[0] == tflite
    bare, _ = with_metadata(network, _record(network), {})
    assert not zipfile.is_zipfile(io.BytesIO(bare)) and read_metadata(bare)[1] == {}


def test_metadata_that_was_there_is_replaced(files):
    first, _ = with_metadata(files["fp32"], {**RECORD, "name": "first"}, {"labels.txt": b"a\n", "more.txt": b""})
    second, offset = with_metadata(first, {**RECORD, "name": "second"}, {"labels.txt": b"b\n"})
    record, others = read_metadata(second)
    assert record["name"] == "second" and others == {"labels.txt": b"b\n"}
    assert network_in(second, offset, len(first)) == first


def test_weights_behind_the_flatbuffer_are_refused(files):
    model = flatbuffer_utils.read_model_from_bytearray(files["fp32"])
    model.buffers[-1].offset, model.buffers[-1].size = 4096, 16
    with pytest.raises(InputError, match=r"inside the flatbuffer.*Received: weights behind it"):
        with_metadata(bytes(flatbuffer_utils.convert_object_to_bytearray(model)), RECORD, {})


def test_a_network_at_another_place_is_noticed(files):
    network = files["fp32"]
    tflite, offset = with_metadata(network, RECORD, {})
    # The same network a second time behind the file: it is not the one that runs.
    for start, size in ((len(tflite), len(network)), (offset + 16, len(network)), (0, len(tflite)), (0, 8)):
        with pytest.raises(InputError, match=r"expected at byte.* Received: "):
            network_in(tflite + network, start, size)


def test_a_file_without_metadata_says_so(files):
    with pytest.raises(InputError, match=r"must hold a buffer TFLITE_METADATA\. Received: "):
        read_metadata(files["fp32"])


@pytest.mark.parametrize("data", [b"", b"M001", b"\x08\0\0\0TFL3", b"\xff\xff\xff\xffM001"])
def test_bytes_that_are_no_metadata(data):
    with pytest.raises(InputError, match=r"TFLite Model Metadata .* Received: "):
        unpack(data)


def test_spoilt_bytes_are_an_input_error_or_a_record():
    data, rng = pack(_classifier()), np.random.default_rng(0)
    for _ in range(300):
        spoilt = bytearray(data)
        for at in rng.integers(8, len(data), 3):
            spoilt[at] = rng.integers(256)
        try:
            assert isinstance(unpack(bytes(spoilt)), dict)
        except InputError as error:
            assert "Received: " in str(error)


@pytest.mark.parametrize("labels", [["a", ""], ["a", " "], ["a", "b\nc"], ["a", "b\r"]])
def test_a_label_of_no_line_or_several_is_refused(labels):
    with pytest.raises(InputError, match=r"`labels`, place 1: one line of text was expected\. Received: "):
        label_file(labels)


@pytest.mark.parametrize(
    ("change", "files", "said"),
    [
        ({"subgraph_metadata": []}, None, "1 graph. Received: 0"),
        ({"subgraph_metadata": [{}]}, None, "1 inputs, as many as the network has. Received: 0"),
        ({}, {}, "['labels.txt']. Received: []"),
        ({}, {"labels.txt": b"cat\n"}, "labels.txt must hold the names of model_io.h"),
    ],
)
def test_what_is_wrong_is_one_line(change, files, said):
    normalisation = {"mean": IMAGENET.mean, "std": IMAGENET.std}
    known = {"inputs": 1, "outputs": 1, "labels": CLASSES, "normalisation": normalisation}
    right = {"labels.txt": label_file(CLASSES)}
    assert metadata_fault(_classifier(), right, **known) == ""
    text = metadata_fault({**_classifier(), **change}, right if files is None else files, **known)
    assert said in text and "Received: " in text and "\n" not in text


def test_another_normalisation_is_noticed():
    other = {"mean": (127.5,) * 3, "std": IMAGENET.std}
    for normalisation in (other, None):
        known = {"inputs": 1, "outputs": 1, "labels": CLASSES, "normalisation": normalisation}
        text = metadata_fault(_classifier(), {"labels.txt": label_file(CLASSES)}, **known)
        assert text.startswith("the normalisation must be that of model_io.h") and "123.67" in text
