"""Texts in many scripts and of many kinds, on which tokenizers are compared."""

import random
import unicodedata

SCRIPTS = {
    "latin": "The quick brown fox jumps over the lazy dog. Ça va très bien, naïve façade — Straße, señor, Łódź, İstanbul.",
    "cyrillic": "Съешь же ещё этих мягких французских булок, да выпей чаю. Ґанок, їжак, ўсё, Ђорђе.",
    "greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Ὦ ξεῖν’, ἀγγέλλειν Λακεδαιμονίοις.",
    "arabic": "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر ومغلف بجلد أزرق. ٠١٢٣٤٥٦٧٨٩",
    "hebrew": "דג סקרן שט בים מאוכזב ולפתע מצא חברה. שָׁלוֹם עֲלֵיכֶם",
    "devanagari": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले। १२३४५ क्षत्रिय",
    "bengali": "আমি বাংলায় গান গাই। বর্গাকার ১২৩৪৫ কম্পিউটার",
    "tamil": "நான் தமிழ் பேசுகிறேன். யாமறிந்த மொழிகளிலே தமிழ்மொழி போல்",
    "thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน ๑๒๓๔",
    "chinese": "我能吞下玻璃而不伤身体。天地玄黃,宇宙洪荒。日月盈昃,辰宿列張。價格是3,14元。𠮷野家",
    "japanese": "いろはにほへと ちりぬるを わかよたれそ つねならむ。カタカナとひらがな、漢字が混ざった文章です。ガギグ",
    "korean": "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. 한글",
    "georgian": "ქართული ენა არის ქართველების ენა. ႠႡႢ ᲐᲑᲒ",
    "armenian": "Կրնամ ապակի ուտել և ինծի անհանգիստ չըներ։",
    "amharic": "ሰማይ አይታረስ ንጉሥ አይከሰስ። ብላ ካለኝ እንደአባቴ በቆመጠኝ።",
    "khmer": "ខ្ញុំអាចញុំកញ្ចក់បាន ដោយគ្មានបញ្ហា ១២៣",
    "vietnamese": "Tôi có thể ăn thủy tinh mà không hại gì. Trời ơi, ngữ pháp tiếng Việt phức tạp quá",
}
KINDS = {
    "case": "ABCdefGHI XMLHttpRequest camelCase snake_case SCREAMING_CASE ǅungla ʰʲ ª º Ⅷ ½ ² ① ㉑",
    "emoji": "😀😃😄 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪🇫🇷 ❤️ ☀️ ✨✨✨ #️⃣ 🤷🏻‍♀️ and text😀mixed",
    "symbols": "←↑→↓ ∑∏∫√∞ ≤≥≠ €£¥₿ §¶†‡ “quotes” ‘single’ «guillemets» … – — \u00ad \u200b\u200c\u200d\ufeff end",
    "code": "def f(x: int) -> str:\n\treturn f'{x!r}'  # comment\n\nfor i in range(10):\n        print(i, end='')\n\n\n"
    "#include <stdio.h>\nint main(void) { return 0x1F & ~3; }\r\nSELECT * FROM t WHERE a='b' AND c<>'d';\n"
    '<div class="x">&nbsp;</div>\nfn main() -> Result<(), Box<dyn Error>> { let v = vec![1u8; 1_000]; Ok(()) }\n'
    '{"a": [1, 2.5e-10, null, true]}\n',
    "markdown": "# Title\n\n* item one\n* item two\n\n```rust\nlet x = 1;\n```\n\n| a | b |\n| --- | --- |\n| 1 | 22 |\n\n---\n\n"
    "> quote\n\n[link](https://example.com/path?q=1&r=2#frag)\n",
    "whitespace": "a  b   c    d\t\te\n\nf\n \n g \r\n\r\nh \u00a0i\u2003j\u3000k   \n   trailing   ",
    "numbers": "1 12 123 1234 12345 123456 1234567 3.14159 1,000,000 0xFF 1e10 ٣٤٥ ๑๒๓ ½ 10:30 2026-11-29",
    "replacement": "bro\ufffdken \ufffd\ufffd\ufffd utf\ufffd-8 \ufffd中\ufffd文\ufffd é\ufffd",
    "contractions": "don't I'll you're we've I'm he'd it's DON'T I'LL YOU'RE WE'VE I'M HE'D IT'S 'tis o'clock 'S 'ſ K'ſ",
    "special": "<|begin_of_text|>hi<|eot_id|> <|im_start|>user\nhello<|im_end|> <think>x</think> <bos><start_of_turn>user\nhi"
    "<end_of_turn> <|channel|>final<|message|>x<|return|> <｜User｜>hi<｜Assistant｜> <|endoftext|><tool_call> <unk></s>",
    "composition": "e\u0301 a\u0308 \u1100\u1161\u11a8 A\u030a o\u0302\u0323 \u212b \u2126 \ufb01 \u0958 \u1e9b\u0323 q\u0307\u0323 \u0f73",
    "controls": "\x00\x01\x02\x07\x08\x0b\x0c\x1b[31mred\x1b[0m\x7f\x80\x85\x9f\u2028\u2029",
    "edges": "\U0010ffff\ue000\ud7ff\ufffe\uffff\U0001f000\U000e0001\U00020000",
    "spaces": " " * 300 + "x" + " " * 1000 + "\n" * 40 + "\t" * 70 + "▁▁▁ ▁x▁",
    "long": "a" * 2000 + "ab" * 700 + "0" * 1500 + "!" * 900 + "中" * 300 + "é" * 500 + "😀" * 200 + "-" * 777 + "=" * 333 + "abc " * 50,
}


def is_assigned(character):
    """Characters that Unicode added later belong to other classes in one library than in another."""
    return unicodedata.category(character) != "Cn"


def random_texts(count, seed):
    """Strings of random code points, of one script, of broken UTF-8 and of shuffled words."""
    chance = random.Random(seed)

    def span(first, last):
        return [chr(code) for code in range(first, last) if not 0xD800 <= code <= 0xDFFF]

    alphabets = [
        span(32, 127), list("abcdefghij  "), list(" \n\t\r a1.,'"), list("'stSTrevmlldREVML ſK"), span(0x0, 0x250),
        span(0x370, 0x600), span(0x900, 0xD00), span(0x3040, 0x3200) + span(0x4E00, 0x4F00),
        span(0xAC00, 0xAD00) + span(0x1100, 0x1200), span(0x300, 0x370) + list("aeiouAEIOU"), span(0x2000, 0x2C00),
        span(0x1F300, 0x1F700) + ["\u200d", "\ufe0f"], ["\ufffd"] + list("ab c"),
        list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ aZ09\n"), list("0123456789 .,"), list("<|>endoftxim_sa/bk｜▁ "),
    ]
    samples = list(SCRIPTS.values()) + list(KINDS.values())
    words = " ".join(samples).split(" ")
    texts = []
    for number in range(count):
        kind = number % 8
        if kind == 0:
            limits = (chance.choice([0x110000, 0x3000, 0x250]) for _ in range(chance.randrange(1, 40)))
            codes = [chance.randrange(limit) for limit in limits]
            text = "".join(chr(code) for code in codes if not 0xD800 <= code <= 0xDFFF)
        elif kind == 1:
            text = "".join(chance.choice(chance.choice(alphabets)) for _ in range(chance.randrange(1, 80)))
        elif kind == 2:
            text = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 60))).decode("utf-8", "replace")
        elif kind == 3:
            broken = bytearray(chance.choice(samples)[:80].encode())
            for _ in range(chance.randrange(1, 6)):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            text = broken.decode("utf-8", "replace")
        elif kind == 4:
            between = chance.choice([" ", "", "  ", "\n", " \n"])
            text = between.join(chance.choice(words) for _ in range(chance.randrange(1, 20)))
        else:
            alphabet = chance.choice(alphabets)
            text = "".join(chance.choice(alphabet) for _ in range(chance.randrange(1, 100)))
        texts.append("".join(filter(is_assigned, text)))
    return texts


def all_texts(random_count, seed=11):
    """Every kind of text, parts of each that are cut anywhere, and random strings."""
    samples = list(SCRIPTS.values()) + list(KINDS.values())
    texts = list(samples)
    for text in samples:
        texts += [text[:end] for end in range(1, min(len(text), 60), 7)]
        texts += [text[start : start + 50] for start in range(0, min(len(text), 200), 13)]
    return texts + random_texts(random_count, seed)
