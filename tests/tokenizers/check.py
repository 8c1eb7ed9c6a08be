#!/usr/bin/env python3
"""Compares token ids of a real model's tokenizer with those of the reference implementation.

    check.py TOKENS TOKENIZER.JSON [COUNT]      COUNT random strings, 10,000 without it
"""

import json
import subprocess
import sys

from tokenizers import Tokenizer

from texts import all_texts


def main():
    tokens, file = sys.argv[1:3]
    texts = all_texts(int(sys.argv[3]) if len(sys.argv) > 3 else 10_000)
    run = subprocess.run([tokens, "ids", file], input=json.dumps(texts), capture_output=True, text=True, check=True)
    ours = json.loads(run.stdout)
    reference = Tokenizer.from_file(file)
    differ = 0
    for text, ids in zip(texts, ours, strict=True):
        expected = reference.encode(text, add_special_tokens=False).ids
        if ids != expected:
            differ += 1
            if differ <= 5:
                print(f"{file}: {text!r}\n  expected {expected}\n  but got  {ids}", file=sys.stderr)
    total = sum(map(len, ours))
    print(f"{file}: {len(texts)} texts, {total} tokens, {differ} texts with other ids")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
