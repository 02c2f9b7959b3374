"""The strings on which tokenizers are compared. tests/parity/tokenizer_strings.h makes the same ones in C++: a string is a function of its
number, the snippets, and the alphabets below, which the goldens carry."""
import pathlib
import unicodedata

SNIPPETS = pathlib.Path(__file__).resolve().parents[2] / "tests/parity/tokenizer_snippets.txt"
MASK = (1 << 64) - 1

ALPHABETS = {
    "space": list(" " * 8 + "\n\n\n\r\t\t\v\f\u00a0\u0085\u1680\u180e\u2000\u2003\u2009\u200b\u2028\u2029\u202f\u205f\u3000\ufeff") + ["\r\n", "  ", "\n\n", "    "],
    "digit": list("0123456789" * 3 + "٠٣९৪๗၈１２³²¹½¾ⅧⅫ①㊿𝟘𝟙〇߀᭐"),
    "letter": list("aeiouqxAEIOKsSnNαωЖйאשكनกあアᄀ각\u212b\u2126\u0958\ufb2a\u1e9b\u0344\U0001d15e"),
    "mark": list("\u0300\u0301\u0303\u0307\u0308\u030a\u0315\u031b\u0323\u0327\u0328\u0331\u0338\u0345\u035c\u0360\u0489\u05b0\u05b4\u05bc\u05c1\u064b\u0651\u0654\u093c\u094d\u0e48\u1161\u11a8\u3099\u309a\u20dd\u20e3\ufe0f\U0001d165\U0001d16e"),
    "emoji": ["😀", "🤣", "👍", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇫🇷", "❤️", "☺", "1️⃣", "🧑🏿‍🚀", "✈︎", "🐔", "🐰", "\u200d", "\ufe0f", "🏽", "🫠", "𓀀"],
    "quote": ["'"] * 4 + ["’", "`", "\u02bc", " '", "''"],
    "suffix": ["s", "t", "re", "ve", "m", "ll", "d", "S", "T", "RE", "Ve", "vE", "M", "LL", "lL", "D", "ſ", "ſt", "st", "K", "\u212a", "x", "rex", "l"],
    "special": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|end_of_text|>", "<s>", "</s>", "[INST]", "[/INST]", "<SPECIAL_77>",
                "<think>", "</think>", "<tool_call>", "<|", "|>", "<|endoftext", "<|im_start|", "[INST", "<<s>>", "word", "e\u0301", "\u00e9", "<mask>", " <mask> ", "pad"],
}


def assigned():
    """Ranges of the characters of this Python's Unicode, 14: classes of younger ones depend on the library's version."""
    if unicodedata.unidata_version != "14.0.0":
        raise SystemExit(f"tokenizer_strings: Unicode 14 is wanted (Python 3.11), this is {unicodedata.unidata_version}")
    ranges = []
    for code_point in range(0x110000):
        if unicodedata.category(chr(code_point)) in ("Cn", "Co", "Cs"):
            continue
        if ranges and ranges[-1][1] == code_point - 1:
            ranges[-1][1] = code_point
        else:
            ranges.append([code_point, code_point])
    return ranges


def mix64(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


class Rng:
    """common/seeds.h's."""

    def __init__(self, seed):
        self.seed, self.counter = seed, 0

    def below(self, n):
        draw = mix64(self.seed ^ mix64(self.counter))
        self.counter += 1
        return int((draw >> 11) * 2.0**-53 * n)

    def choice(self, values):
        return values[self.below(len(values))]


class Strings:
    def __init__(self):
        self.snippets = SNIPPETS.read_text(encoding="utf-8")
        self.lines = self.snippets.split("\n")
        self.assigned = assigned()
        self.characters = [chr(c) for first, last in self.assigned for c in range(first, last + 1)]

    def piece(self, rng):
        kind = rng.below(12)
        if kind <= 1:
            begin = rng.below(len(self.snippets))
            return self.snippets[begin : begin + 1 + rng.below(60)]
        if kind == 2:
            return rng.choice(self.lines)
        if kind == 3:
            return rng.choice(ALPHABETS["space"]) * (1 + rng.below(5))
        if kind == 4:
            return "".join(rng.choice(ALPHABETS["digit"]) for _ in range(1 + rng.below(9)))
        if kind == 5:
            return "".join(rng.choice(self.characters) for _ in range(1 + rng.below(6)))
        if kind == 6:
            return rng.choice(ALPHABETS["letter"]) + "".join(rng.choice(ALPHABETS["mark"]) for _ in range(1 + rng.below(4)))
        if kind == 7:
            return "".join(rng.choice(ALPHABETS["emoji"]) for _ in range(1 + rng.below(3)))
        if kind == 8:
            return "".join(chr(0x20 + rng.below(0x5F)) for _ in range(1 + rng.below(12)))
        if kind == 9:
            return rng.choice(ALPHABETS["quote"]) + rng.choice(ALPHABETS["suffix"])
        if kind == 10:
            return rng.choice(ALPHABETS["special"])
        return rng.choice(ALPHABETS["letter"]) * (1 + rng.below(20)) + rng.choice(ALPHABETS["space"])

    def string(self, number):
        rng = Rng(number)
        return "".join(self.piece(rng) for _ in range(1 + rng.below(8)))

    def of_character(self, index):
        """A character at the beginning, behind a letter, a space, a digit and itself."""
        c = self.characters[index]
        return f"{c}a{c} {c}{c}1{c}'{c}\n{c}"
