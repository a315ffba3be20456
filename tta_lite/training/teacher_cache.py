"""A teacher's answers on disk: a heavy teacher costs one pass over the training, however often a student is trained.

What is cached is a stream of batches in its order: for a training whose pictures change in every epoch, the stream of
all its epochs with one seed. One file holds a header and a record for each batch, with the fingerprints of the
examples that the answers belong to, so that a stream in another order is noticed at its first batch that differs.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tta_lite.files import atomic_path, to_json_text
from tta_lite.training.distillation_step import Taught
from tta_lite.training.teachers import Answer, Teacher, as_teacher
from tta_lite.types import InputError, Task

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Header:
    """The first record of a cache: what it is of.

    Attributes:
      teacher: the hash of its weights and config, or of its file.
      seed: of the order and the augmentation of the examples.
      layers: of the teacher, whose features are in it beside its outputs.
      batches: how many records follow.
      format: of the file.
    """

    teacher: str
    seed: int
    layers: tuple[str, ...]
    batches: int
    format: int = FORMAT

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))


def cache_teacher(
    teacher: Any,
    dataset: tf.data.Dataset,
    path: str | Path,
    *,
    seed: int,
    layers: Sequence[str] = (),
    batches: int | None = None,
    start: int = 0,
) -> tf.data.Dataset:
    """-> a dataset of (x, `Taught`) for `Distiller.fit`; asks the teacher if `path` is not there, and else reads it.

    Args:
      teacher: as `Distiller` takes it. It is hashed each time, and asked when the cache is made.
      dataset: of (x, y) or (x, y, sample weights), in batches, which begins with batch `start`; in the same order each
        time it is gone through. One epoch if it has no augmentation, else as many batches as the whole training takes.
      path: of the cache, one file; it is whole or not there.
      seed: of the order and the augmentation.
      layers: `Distiller.teacher_layers`; those that are there too are passed over.
      batches: how many to cache; needed for a dataset without end.
      start: of a training that goes on.

    Returns:
      the batches that are cached, from `start` on.

    Raises:
      InputError: the cache is of another teacher, another seed, fewer layers or fewer batches, or the examples are
        others. Examples that differ later on end the training with an error that says so.

    Example:
      >>> import tempfile
      >>> import numpy as np
      >>> from tta_lite.training.teachers import as_teacher
      >>> images = np.arange(16, dtype=np.float32).reshape(4, 4)
      >>> teacher = as_teacher(lambda x: x.sum(1, keepdims=True), images, key="sums", probabilities=False)
      >>> data = tf.data.Dataset.from_tensor_slices((images, [0, 1, 2, 3])).batch(2)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     taught = cache_teacher(teacher, data, folder + "/cache", seed=0)
      ...     [batch[1].answer.outputs.numpy().ravel().tolist() for batch in taught]
      [[6.0, 22.0], [38.0, 54.0]]
    """
    path, layers = Path(path), tuple(layers)
    first = next(iter(dataset.take(1)), None)
    if not isinstance(first, tuple) or len(first) not in (2, 3) or not tf.is_tensor(first[0]):
        raise InputError(
            f"A dataset to be cached must give batches of (x, y), x one tensor. Received: {dataset.element_spec}"
        )
    teacher = as_teacher(teacher, first[0].numpy())
    key, told = teacher.digest(), int(dataset.cardinality())
    count = batches if batches is not None else start + told if told > 0 else told
    if not path.exists():
        if start:
            raise InputError(
                f"A cache is made from batch 0 on, and later read from any. Received: batch {start}, and no {path}"
            )
        if count < 1:
            raise InputError(
                f"The number of `batches` to cache must be given for a dataset that does not tell it. Received: {count}"
            )
        _write(teacher.placed(), dataset, path, Header(key, seed, layers, count))
    header = _read_header(path)
    # A dataset that is longer than the cache would be cut short in silence.
    _check(path, header, Header(key, seed, layers, count if count > 0 else header.batches), start)
    records = tf.data.TFRecordDataset(str(path)).skip(1 + start).take(header.batches - start)
    parse = _parser(records, header, dataset, path)
    _compare(path, first[0], next(iter(records.take(1).map(parse)))[0], start)

    def join(batch: tuple, record: tf.Tensor) -> tuple:
        x, y, *weights = batch
        prints, answer = parse(record)
        same = tf.assert_equal(_fingerprints(x), prints, f"InputError: {_OTHER.format(path=path)} others, later on")
        with tf.control_dependencies([same] if same is not None else []):
            answer = tf.nest.map_structure(tf.identity, answer)
        kept = {name: value for name, value in answer.features.items() if name in layers}
        return (x, Taught(y, Answer(answer.outputs, kept)), *weights)

    return tf.data.Dataset.zip((dataset, records)).map(join).prefetch(tf.data.AUTOTUNE)


@dataclasses.dataclass(frozen=True, eq=False)
class TaughtTask:
    """A task whose training batches come with a teacher's answers from a cache, for `fit` with a `Distillation`.

    Everything else is the task's own. The cache holds all batches of a training of so many epochs.

    Attributes:
      task: whose batches depend on seed and step alone.
      teacher: as `cache_teacher` takes it.
      path: of the cache; it is made when `fit` first asks for training data.
      epochs: of the training.
      layers: of the teacher.
    """

    task: Task
    teacher: Any
    path: str | Path
    epochs: int
    layers: tuple[str, ...] = ()

    def train_data(self, *, seed: int, start_step: int = 0) -> tf.data.Dataset:
        """-> the task's batches from `start_step` on, with what the teacher says of them."""
        batches = self.epochs * self.task.steps_per_epoch

        def cached(start: int) -> tf.data.Dataset:
            data = self.task.train_data(seed=seed, start_step=start)
            return cache_teacher(
                self.teacher, data, self.path, seed=seed, layers=self.layers, batches=batches, start=start
            )

        if start_step and not Path(self.path).exists():
            cached(0)
        return cached(start_step)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.task, name)


_OTHER = "The examples of a cache must come again in the same order, with the same augmentation; {path} is of"


def _write(teacher: Teacher, dataset: tf.data.Dataset, path: Path, header: Header) -> None:
    @tf.function(autograph=False, reduce_retracing=True)
    def ask(x: tf.Tensor) -> Answer:
        return teacher.ask(x, header.layers)

    with atomic_path(path) as temporary:
        written = 0
        with tf.io.TFRecordWriter(str(temporary)) as writer:
            writer.write(to_json_text(dataclasses.asdict(header)).encode())
            for batch in dataset.take(header.batches):
                outputs, features = ask(batch[0])
                parts = [_fingerprints(batch[0]), outputs, *(features[name] for name in header.layers)]
                writer.write(tf.io.serialize_tensor(tf.stack([tf.io.serialize_tensor(part) for part in parts])).numpy())
                written += 1
        if written != header.batches:
            raise InputError(f"There must be {header.batches} batches to cache. Received: {written}")


def _read_header(path: Path) -> Header:
    try:
        record = next(iter(tf.data.TFRecordDataset(str(path)).take(1)))
        return Header(**json.loads(record.numpy()))
    except (StopIteration, ValueError, TypeError, tf.errors.OpError) as error:
        raise InputError(
            f"{path} must be a cache that cache_teacher has written; remove it or choose another path. "
            f"Received: {type(error).__name__}"
        ) from error


def _check(path: Path, found: Header, wanted: Header, start: int) -> None:
    differences = [
        f"the {name} {getattr(found, name)!r} instead of {getattr(wanted, name)!r}"
        for name in ("format", "teacher", "seed")
        if getattr(found, name) != getattr(wanted, name)
    ]
    if missing := [name for name in wanted.layers if name not in found.layers]:
        differences.append(f"no layer {', '.join(missing)}")
    if found.batches < max(wanted.batches, start + 1):
        differences.append(f"{found.batches} batches instead of {max(wanted.batches, start + 1)}")
    if differences:
        raise InputError(
            f"The cache {path} must be of this teacher and this stream of examples; remove it or choose another path. "
            f"Received: {'; '.join(differences)}"
        )


def _parser(records: tf.data.Dataset, header: Header, dataset: tf.data.Dataset, path: Path) -> Any:
    """-> record -> (fingerprints, `Answer`), with static shapes except that of the batch."""

    def parts_of(record: tf.Tensor) -> list[tf.Tensor]:
        parts = tf.io.parse_tensor(record, tf.string)
        kinds = [tf.uint8, *([tf.float32] * (1 + len(header.layers)))]
        return [tf.io.parse_tensor(parts[place], kind) for place, kind in enumerate(kinds)]

    try:
        shapes = [part.shape[1:] for part in parts_of(next(iter(records.take(1))))]
    except tf.errors.OpError as error:
        raise InputError(f"{path} is damaged; remove it. Received: {type(error).__name__}") from error
    # A batch that is always full stays so: replicas and some layers want to know.
    batch = dataset.element_spec[0].shape[0]

    def parse(record: tf.Tensor) -> tuple[tf.Tensor, Answer]:
        parts = [tf.ensure_shape(part, [batch, *shape]) for part, shape in zip(parts_of(record), shapes, strict=True)]
        return parts[0], Answer(parts[1], dict(zip(header.layers, parts[2:], strict=True)))

    return parse


def _compare(path: Path, images: tf.Tensor, prints: tf.Tensor, start: int) -> None:
    mine = _fingerprints(images)
    if mine.shape != prints.shape or not bool(tf.reduce_all(mine == prints)):
        raise InputError(f"{_OTHER.format(path=path)} others. Received: another batch {start}")


def _fingerprints(images: tf.Tensor) -> tf.Tensor:
    """-> [B, 8] uint8, one of each example."""
    return tf.raw_ops.Fingerprint(data=tf.reshape(images, [tf.shape(images)[0], -1]), method="farmhash64")
