"""Folders that transformers loads although something in them is unusual: loaded as transformers 5.23 does, with a line that says what was
ignored, or refused by name. model_folders/README.md says where they come from."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

GRPOCTL_MODEL = os.path.join("tools", "grpoctl-model")
FOLDERS = os.path.join("tests", "parity", "model_folders")
IDS = [5, 60, 6, 70]
# What the line on stderr says was ignored; empty where nothing is.
SAYS = {
    "cfg_dropout": "attention_dropout",
    "cfg_gradckpt": "",
    "cfg_padneg": "pad_token_id",
    "cfg_unsloth": "unsloth_fixed",
    "t_pad": "padding",
    "t_trunc": "truncation",
    "t_unk": "unk_token",
    "w_invfreq": "inv_freq",
    "w_totalsize": "total_size",
    "e_none": "",
}


class ModelFoldersTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        with open(os.path.join(FOLDERS, "expected.json"), encoding="utf-8") as file:
            self.expected = json.load(file)

    def assembled(self, name):
        """The base with what the folder has of its own in place of it."""
        path = os.path.join(self.folder, name)
        shutil.copytree(os.path.join(FOLDERS, "base"), path)
        own = os.listdir(os.path.join(FOLDERS, name))
        if any(file.endswith(".safetensors") for file in own):
            os.remove(os.path.join(path, "model.safetensors"))
        for file in own:
            shutil.copyfile(os.path.join(FOLDERS, name, file), os.path.join(path, file))
        return path

    def ask(self, verb, name, line, *flags, changed=None):
        """Of an assembled folder, in which `changed` has put other contents (bytes by file's name)."""
        path = self.assembled(name)
        for file, content in (changed or {}).items():
            with open(os.path.join(path, file), "wb") as opened:
                opened.write(content)
        command = [GRPOCTL_MODEL, "model", verb, "--model", path, *flags]
        run = subprocess.run(command, input=json.dumps(line) + "\n", capture_output=True, text=True, check=False)
        shutil.rmtree(path)
        return run

    def config(self, **fields):
        with open(os.path.join(FOLDERS, "base", "config.json"), encoding="utf-8") as file:
            return json.dumps({**json.load(file), **fields}).encode()

    def tensors(self, name):
        """Header and data of a safetensors file."""
        with open(os.path.join(FOLDERS, name, "model.safetensors"), "rb") as file:
            content = file.read()
        size = int.from_bytes(content[:8], "little")
        return json.loads(content[8:8 + size]), content[8 + size:]

    @staticmethod
    def packed(header, data):
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text + data

    def test_each_folder_of_the_list_is_tried(self):
        self.assertEqual(sorted(self.expected), sorted([*SAYS, "w_lfs", "w_tiedextra"]))

    def test_what_is_only_unusual_loads_as_the_base_does_and_says_what_was_ignored(self):
        base = json.loads(self.ask("logprobs", "base", {"ids": IDS}).stdout)
        self.assertEqual(len(base["logprobs"]), 3)
        for name, says in SAYS.items():
            with self.subTest(name):
                run = self.ask("logprobs", name, {"ids": IDS})
                self.assertEqual(run.returncode, 0, run.stderr)
                self.assertEqual(json.loads(run.stdout), base)
                self.assertIn(says, run.stderr)
                self.assertEqual(run.stderr != "", says != "")

    def test_a_stored_head_beside_tied_embeddings_counts(self):
        expected = self.expected["w_tiedextra"]
        self.assertEqual(expected["ids"], IDS)
        run = self.ask("logprobs", "w_tiedextra", {"ids": IDS})
        for got, right in zip(json.loads(run.stdout)["logprobs"], expected["right_logprobs"], strict=True):
            self.assertAlmostEqual(got, right, delta=2e-4)
        self.assertIn("lm_head.weight", run.stderr)
        run = self.ask("generate", "w_tiedextra", {"ids": IDS}, "--max-new-tokens", "12", "--temperature", "0")
        self.assertEqual(json.loads(run.stdout)["completions"][0]["ids"], expected["right_greedy_12"])

    def test_truncation_is_for_training_texts_and_cuts_nothing_here(self):
        text = "Hello world, this is a longer text of more than eight tokens"
        tokenized = json.loads(self.ask("tokenize", "t_trunc", {"text": text}).stdout)
        self.assertEqual(len(tokenized["ids"]), 45)
        self.assertEqual(tokenized["decoded"], text)

    def test_a_pointer_in_place_of_weights_is_called_that(self):
        run = self.ask("logprobs", "w_lfs", {"ids": IDS})
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("Git LFS pointer", run.stderr)
        self.assertEqual(run.stdout, "")

    def test_pruned_it_is_a_folder_as_any_other_and_with_all_its_layers_the_same_model(self):
        base = self.ask("logprobs", "base", {"ids": IDS}).stdout
        for keep, same in (("2", True), ("1", False)):
            with self.subTest(keep=keep):
                out = os.path.join(self.folder, f"pruned-{keep}")
                pruned = self.ask("prune", "base", {}, "--keep", keep, "--out", out)
                self.assertEqual(pruned.returncode, 0, pruned.stderr)
                layers = [{"student": layer, "teacher": layer} for layer in range(1, int(keep) + 1)]
                self.assertEqual(json.loads(pruned.stdout), {"exported_to": out, "layers": layers})
                command = [GRPOCTL_MODEL, "model", "logprobs", "--model", out]
                run = subprocess.run(command, input=json.dumps({"ids": IDS}), capture_output=True, text=True, check=False)
                self.assertEqual(run.returncode, 0, run.stderr)
                self.assertEqual(run.stdout == base, same)
        for flags, says in ((("--keep", "3"), "--keep 3"), (("--layers", "2,1"), "--layers 2,1"), (("--keep", "-1"), "-1")):
            with self.subTest(flags=flags):
                refused = self.ask("prune", "base", {}, *flags, "--out", os.path.join(self.folder, "refused"))
                self.assertNotEqual(refused.returncode, 0)
                self.assertIn(says, refused.stderr)
                self.assertEqual(refused.stdout, "")
        full = self.ask("prune", "base", {}, "--out", self.folder)
        self.assertEqual(full.returncode, 1)
        self.assertIn("choose a folder that is not there", full.stderr)

    def test_neighbours_end_tokens_of_either_file(self):
        cases = [
            # eos_token_id of config.json (... : no such key), generation_config.json, the end tokens or a part of what is said.
            (None, {"eos_token_id": [0]}, [0]),
            (None, {"eos_token_id": 0}, [0]),
            (None, {"eos_token_id": [7, 0]}, [0, 7]),
            (0, {"eos_token_id": 7}, [0, 7]),
            ([0], {"eos_token_id": [7]}, [0, 7]),
            (0, {"eos_token_id": None}, [0]),
            (0, {}, [0]),
            (0, None, [0]),
            ([5, 6], None, [5, 6]),
            (..., {"eos_token_id": [3]}, [3]),
            (None, {"eos_token_id": None}, "eos_token_id"),
            (None, None, "eos_token_id"),
            (..., {"eos_token_id": []}, "eos_token_id"),
            (None, {"eos_token_id": [361]}, "361"),
            (None, {"eos_token_id": "0"}, "eos_token_id"),
        ]
        for eos, generation, expected in cases:
            with self.subTest(eos=eos, generation=generation):
                config = json.loads(self.config(eos_token_id=eos if eos is not ... else None))
                if eos is ...:
                    del config["eos_token_id"]
                changed = {"config.json": json.dumps(config).encode()}
                if generation is not None:
                    changed["generation_config.json"] = json.dumps(generation).encode()
                run = self.ask("inspect", "base", {}, changed=changed)
                if isinstance(expected, list):
                    self.assertEqual(run.returncode, 0, run.stderr)
                    self.assertEqual(sorted(json.loads(run.stdout)["eos_token_ids"]), expected)
                else:
                    self.assertNotEqual(run.returncode, 0)
                    self.assertIn(expected, run.stderr)

    def test_neighbours_other_things_in_place_of_a_file(self):
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3554214621\n"
        page = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
        contents = {"Git LFS pointer": pointer, "HTML": page}
        for says, content in contents.items():
            for file in ("model.safetensors", "config.json", "tokenizer.json"):
                with self.subTest(says=says, file=file):
                    run = self.ask("logprobs", "base", {"ids": IDS}, changed={file: content})
                    self.assertNotEqual(run.returncode, 0)
                    self.assertIn(file, run.stderr)
                    self.assertRegex(run.stderr.lower(), "git lfs" if says == "Git LFS pointer" else "html|web page")
                    self.assertEqual(run.stdout, "")
        for content in (b"", b"\0" * 100, b"PK\x03\x04" + b"\0" * 60, b"not a model", b"{}", b"\x80\x02}q\x00."):
            with self.subTest(content=content):
                run = self.ask("logprobs", "base", {"ids": IDS}, changed={"model.safetensors": content})
                self.assertNotEqual(run.returncode, 0)
                self.assertIn("model.safetensors", run.stderr)
                self.assertEqual(run.stdout, "")

    def test_neighbours_heads_and_other_tensors_beside_tied_embeddings(self):
        base = json.loads(self.ask("logprobs", "base", {"ids": IDS}).stdout)["logprobs"]
        header, data = self.tensors("base")
        tied = header["model.embed_tokens.weight"]
        begin, end = tied["data_offsets"]

        def with_tensor(name, shape, content, dtype="F32"):
            entry = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
            return {"model.safetensors": self.packed({**header, name: entry}, data + content)}

        same = data[begin:end]
        flipped = bytearray(same)
        flipped[-1] ^= 0x80
        zeros = bytes(end - begin)
        half = b"".join(same[i + 2:i + 4] for i in range(0, len(same), 4))
        cases = [
            ("lm_head.weight", tied["shape"], same, "F32", "same"),
            ("lm_head.weight", tied["shape"], bytes(flipped), "F32", "counts"),
            ("lm_head.weight", tied["shape"], zeros, "F32", "counts"),
            ("lm_head.weight", tied["shape"], half, "BF16", "counts"),
            ("lm_head.weight", tied["shape"][::-1], same, "F32", "lm_head.weight"),
            ("lm_head.weight", [1, 32], same[:128], "F32", "lm_head.weight"),
            ("lm_head.bias", [361], bytes(361 * 4), "F32", "lm_head.bias"),
            ("model.layers.2.mlp.up_proj.weight", [64, 32], bytes(64 * 32 * 4), "F32", "model.layers.2"),
            ("model.layers.0.self_attn.q_proj.bias", [32], bytes(32 * 4), "F32", "q_proj.bias"),
            ("model.layers.0.self_attn.rotary_emb.inv_freq", [4], bytes(16), "F32", "same"),
            ("value_head.weight", [1, 32], bytes(128), "F32", "value_head.weight"),
        ]
        for name, shape, content, dtype, expected in cases:
            with self.subTest(name=name, shape=shape, dtype=dtype):
                run = self.ask("logprobs", "base", {"ids": IDS}, changed=with_tensor(name, shape, content, dtype))
                if expected in ("same", "counts"):
                    self.assertEqual(run.returncode, 0, run.stderr)
                    got = json.loads(run.stdout)["logprobs"]
                    self.assertEqual(got == base, expected == "same", got)
                    self.assertEqual("lm_head.weight" in run.stderr, expected == "counts")
                else:
                    self.assertNotEqual(run.returncode, 0)
                    self.assertIn(expected, run.stderr)


if __name__ == "__main__":
    unittest.main()
