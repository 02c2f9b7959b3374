"""What fuzzing the tokenizer begins with: tokenizer_seeds.py FOLDER fills the folder."""
import hashlib
import json
import pathlib
import sys


def seeds():
    """Small tokenizers, with each of the changes that tests/parity makes to a large one, "tokenizer.json 0xfe text"."""
    goldens = json.loads(pathlib.Path("tests/parity/tokenizer_goldens.json").read_text(encoding="utf-8"))["tokenizers"]
    patches = [golden.get("patch", {}) for golden in goldens.values()]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    vocab = {token: i for i, token in enumerate([*"abcdewortxX019.,<>|/'sĠĊÃ©Ì", "ab", "Ġa", "abab", "wo", "rd", "Ã©", "<s>"])}
    base = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "ignore_merges": False, "vocab": vocab, "merges": ["a b", "Ġ a", ["ab", "ab"], "w o", "r d", "Ã ©"]},
    }
    for patch in patches:
        patched = {**base, **{key: value for key, value in patch.items() if key != "model"}}
        patched["pre_tokenizer"] = {k: v for k, v in patched["pre_tokenizer"].items() if v is not None}
        # Their ids belong to the large vocabulary.
        patched["added_tokens"] = [{**token, "id": len(vocab) + i} for i, token in enumerate(patched["added_tokens"][1:])]
        for text in ("abab word <mask> a 01 ab.\n é", "e\u0301 pad  </think> X"):
            yield json.dumps(patched, ensure_ascii=False).encode() + b"\xfe" + text.encode()
    characters = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "é": 2}, "merges": []}, "decoder": {"type": "Fuse"}}
    yield json.dumps(characters, ensure_ascii=False).encode() + b"\xfe" + "abéa".encode()


def main():
    folder = pathlib.Path(sys.argv[1])
    for seed in seeds():
        (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)


if __name__ == "__main__":
    main()
