#!/usr/bin/env python3
"""Makes small tokenizers of the structures that real models have, and the ids that the reference implementation gives some texts.

    make_small.py TEXT... writes crates/prompt/tests/fixtures/structures/*.json

TEXT are files that the vocabularies are trained on. The result is committed; this is run again only to add a structure.
"""

import json
import pathlib
import sys

import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from texts import KINDS, SCRIPTS, random_texts

CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+",
    ]
)
TEKKEN = O200K.replace(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace(r"\p{N}{1,3}", r"\p{N}")
DEEPSEEK = [
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
]
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
MARK = "\u2581"


def bytes_of(patterns, **more):
    steps = [{"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated", "invert": False} for p in patterns]
    steps.append(BYTES)
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}, "decoder": BYTES, **more}


def begin(token, id):
    special = {token: {"id": token, "ids": [id], "tokens": [token]}}
    single = [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = single + [{"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}


def marks(prefix):
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
    back = [
        {"type": "Replace", "pattern": {"String": MARK}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}
    ]
    if prefix:
        normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": MARK}, replace]}
        back.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
        split = None
    else:
        normalizer = replace
        split = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    return {"normalizer": normalizer, "pre_tokenizer": split, "decoder": {"type": "Sequence", "decoders": back}}


def train(texts, is_bytes, size):
    tokenizer = Tokenizer(models.BPE(byte_fallback=not is_bytes, unk_token=None if is_bytes else "<unk>", fuse_unk=not is_bytes))
    if is_bytes:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    else:
        texts = [text.replace(" ", MARK) for text in texts]
        tokenizer.pre_tokenizer = pre_tokenizers.Split(MARK, "merged_with_next")
        special = ["<unk>", "<bos>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
        trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, limit_alphabet=200, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return json.loads(tokenizer.to_str())["model"]


def added(content, id, normalized=False, special=True):
    return {
        "id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": normalized, "special": special,
    }


def structures(texts):
    def small(is_bytes, size):
        return train(texts, is_bytes, size)

    def of(model, more, tokens, **options):
        size = len(model["vocab"])
        known = [added(content, model["vocab"].get(content, size + n), **o) for n, (content, o) in enumerate(tokens)]
        base = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": known, "normalizer": None}
        base |= {"pre_tokenizer": None, "post_processor": None, "decoder": None}
        return base | more | {"model": model | options}

    by_bytes = small(True, 900)
    size = len(by_bytes["vocab"])
    plain, late = {}, {"normalized": True, "special": False}
    # Older files write merges as one text.
    joined = {"merges": [" ".join(pair) for pair in by_bytes["merges"]]}
    three = CL100K.replace("DIGITS", r"\p{N}{1,3}")
    yield "llama3", of(
        by_bytes, bytes_of([three], post_processor=begin("<|begin_of_text|>", size)),
        [("<|begin_of_text|>", plain), ("<|eot_id|>", plain)], ignore_merges=True, **joined,
    )
    yield "qwen3", of(
        by_bytes, bytes_of([CL100K.replace("DIGITS", r"\p{N}")], normalizer={"type": "NFC"}),
        [("<|endoftext|>", plain), ("<|im_start|>", plain), ("<|im_end|>", plain), ("<think>", {"special": False})],
        continuing_subword_prefix="", end_of_word_suffix="",
    )
    yield "gptoss", of(
        by_bytes, bytes_of([O200K]), [("<|channel|>", plain), ("<|message|>", plain), ("<|return|>", plain)],
        ignore_merges=True,
    )
    yield "tekken", of(by_bytes, bytes_of([TEKKEN]), [("<s>", plain)], ignore_merges=True)
    yield "deepseek3", of(
        by_bytes, bytes_of(DEEPSEEK, normalizer={"type": "Sequence", "normalizers": []}),
        [("<｜end▁of▁sentence｜>", plain), ("<｜User｜>", late), ("<｜Assistant｜>", late)],
    )
    gpt2 = bytes_of([])
    gpt2["pre_tokenizer"] = BYTES | {"use_regex": True}
    yield "gpt2", of(by_bytes, gpt2, [("<|endoftext|>", plain)])
    by_characters = small(False, 1100)
    tokens = [("<unk>", plain), ("<bos>", plain), ("\n\n", {"special": False}), ("<end_of_turn>", {"special": False})]
    vocabulary = by_characters["vocab"]
    tokens = [t for t in tokens if t[0] in vocabulary] + [t for t in tokens if t[0] not in vocabulary]
    first = [t for t in tokens if t[0] in vocabulary]
    rest = [t for t in tokens if t[0] not in vocabulary]

    def characters(more):
        model = of(by_characters, more, first + rest)
        for number, token in enumerate(model["added_tokens"][len(first) :]):
            token["id"] = len(vocabulary) + number
        return model

    yield "gemma3", characters(marks(False) | {"post_processor": begin("<bos>", vocabulary["<bos>"])})
    yield "llama2", characters(marks(True))


def main():
    texts = [pathlib.Path(name).read_text() for name in sys.argv[1:]] + list(SCRIPTS.values()) * 3 + list(KINDS.values())
    place = pathlib.Path(__file__).parents[2] / "crates/prompt/tests/fixtures/structures"
    place.mkdir(parents=True, exist_ok=True)
    samples = [text[:90] for text in list(SCRIPTS.values()) + list(KINDS.values())]
    samples += [text[:60] for text in random_texts(80, seed=5) if text]
    expected = {"reference": f"tokenizers {tokenizers.__version__}", "texts": samples, "ids": {}}
    for name, tokenizer in structures(texts):
        text = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
        (place / f"{name}.json").write_text(text + "\n")
        reference = Tokenizer.from_str(text)
        expected["ids"][name] = [reference.encode(text, add_special_tokens=False).ids for text in samples]
        print(name, len(text), sum(map(len, expected["ids"][name])))
    (place / "expected.json").write_text(json.dumps(expected, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
