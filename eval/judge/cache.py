"""Judgements made before, one JSON file each, under a hash of all that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from pathlib import Path

from eval.judge.rubric import RUBRIC_VERSION
from eval.judge.settings import JudgeSettings


def key_of(settings: JudgeSettings, prompt: str, answer: str) -> str:
    """sha256 over endpoint, model, rubric, prompt and answer, 64 hexadecimal digits."""
    parts = [settings.base_url, settings.model, RUBRIC_VERSION, prompt, answer]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class JudgementCache:
    """Scores with their reasons below a folder; without a folder, nothing is found and nothing is kept."""

    def __init__(self, settings: JudgeSettings) -> None:
        self.folder = settings.cache
        self.source = {"base_url": settings.base_url, "model": settings.model, "rubric": RUBRIC_VERSION}

    def get(self, key: str) -> tuple[int | None, str] | None:
        """Score and reason, or None where there is no entry or it is damaged."""
        if self.folder is None or not (path := self._path(self.folder, key)).is_file():
            return None
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            score, reason = entry["score"], entry["reason"]
            if entry["key"] == key and score in (None, 1, 2, 3, 4, 5) and isinstance(reason, str):
                return None if score is None else int(score), reason
        except (OSError, ValueError, TypeError, KeyError):
            pass
        warnings.warn(f"damaged judgement {path}; it is asked for again", stacklevel=2)
        return None

    def prepare(self) -> None:
        """Make the folder, before any request is paid for.

        Raises:
            ValueError: it cannot be made or written.
        """
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            raise ValueError(
                f"eval.judge.cache = {self.folder} cannot be written ({error.strerror}). Name another folder."
            ) from error

    def put(self, key: str, score: int | None, reason: str) -> None:
        """Keep a judgement; a reader sees the whole file or none."""
        if self.folder is None:
            return
        path = self._path(self.folder, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{key[:8]}-", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump({"key": key, **self.source, "score": score, "reason": reason}, stream, indent=1)
            os.replace(name, path)
        except OSError as error:
            error.filename = error.filename or str(path)  # writing to an open file on a full disk names none
            raise
        finally:
            Path(name).unlink(missing_ok=True)

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        return folder / key[:2] / f"{key}.json"
