"""Say what is wrong with a config.json of Hugging Face's library, and what in it has no effect here."""

from __future__ import annotations

import re
from collections.abc import Mapping


def describe_problem(error: Exception, keys: Mapping[str, str]) -> str:
    """Return the first line of an error about a `ModelConfig` in the words of the file that it was read from.

    `keys` are the keys of the file by field of `ModelConfig`; other fields keep their names.
    """
    # The message is one line, so only the first wrong setting is reported.
    problem = str(error).splitlines()[0].removeprefix("model.")
    return re.sub(r"\w+", lambda word: keys.get(word[0], word[0]), problem)
