#!/usr/bin/env python3
"""Makes two small SentencePiece models and the ids that the SentencePiece library gives some texts.

    make_small_models.py TEXT... writes crates/prompt/tests/fixtures/structures/*.model and expected-models.json
"""

import io
import json
import pathlib
import sys

import sentencepiece

from texts import KINDS, SCRIPTS, random_texts


def main():
    lines = [line for name in sys.argv[1:] for line in pathlib.Path(name).read_text().splitlines() if line.strip()]
    lines += list(SCRIPTS.values()) * 3
    place = pathlib.Path(__file__).parents[2] / "crates/prompt/tests/fixtures/structures"
    samples = [text[:90] for text in list(SCRIPTS.values()) + list(KINDS.values())]
    samples += [text[:60] for text in random_texts(40, seed=5) if text]
    # The library takes the end of a text for the end of a line.
    samples = [text for text in samples if "\x00" not in text]
    # The `tokenizers` library, which encodes Unigram, sets no mark before a text that begins with one.
    samples = [text for text in samples if not text.startswith("▁")]
    expected = {"reference": f"sentencepiece {sentencepiece.__version__}", "texts": samples, "ids": {}}
    kinds = {
        # As Llama 2 and Gemma are.
        "bpe": {
            "model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity", "remove_extra_whitespaces": False,
            "vocab_size": 900, "user_defined_symbols": ["<start_of_turn>", "▁▁", "\n\n"], "split_digits": True,
        },
        # As T5 is.
        "unigram": {"model_type": "unigram", "normalization_rule_name": "identity", "vocab_size": 700},
    }
    for name, options in kinds.items():
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=out, character_coverage=0.98, minloglevel=2, **options
        )
        (place / f"{name}.model").write_bytes(out.getvalue())
        processor = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
        expected["ids"][name] = [processor.encode(text) for text in samples]
        print(name, len(out.getvalue()), sum(map(len, expected["ids"][name])))
    text = json.dumps(expected, ensure_ascii=True, separators=(",", ":")) + "\n"
    (place / "expected-models.json").write_text(text)


if __name__ == "__main__":
    main()
