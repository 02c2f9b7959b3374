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

    def ask(self, verb, name, line, *flags):
        command = [GRPOCTL_MODEL, "model", verb, "--model", self.assembled(name), "--threads", "1", *flags]
        if verb == "tokenize":
            command.remove("--threads")
            command.remove("1")
        run = subprocess.run(command, input=json.dumps(line) + "\n", capture_output=True, text=True, check=False)
        shutil.rmtree(os.path.join(self.folder, name))
        return run

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


if __name__ == "__main__":
    unittest.main()
