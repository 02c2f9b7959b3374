"""The peers' side of compare_samplers: a batch of completions for each line of stdin. Runs in the peer's own environment.

    sampler_turns.py KIND '{"model": DIR, "prompts": 8, "group": 8, "prompt_tokens": 128, "new_tokens": 128, "dtype": "bfloat16", "threads": 2}'

KIND is transformers, vllm, vllm-compiled or llama-cpp. Every batch has other prompts, so that no cache of an earlier one helps. Nobody
computes log-probabilities, which ours does.
"""
import itertools
import json
import os
import pathlib
import sys

import peers


def transformers_sampler(case):
    import torch
    import transformers

    torch.set_num_threads(case["threads"])
    model = transformers.AutoModelForCausalLM.from_pretrained(case["model"], dtype=getattr(torch, case["dtype"])).eval()
    rounds = itertools.count()

    def work():
        prompts = case_prompts(case, next(rounds))
        ids = torch.tensor([prompt for prompt in prompts for _ in range(case["group"])])
        with torch.no_grad():
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=case["new_tokens"],
                min_new_tokens=case["new_tokens"],
                pad_token_id=0,
            )
        assert out.shape[1] == case["prompt_tokens"] + case["new_tokens"]

    return work


def vllm_sampler(case, compiled):
    # Read when it is imported.
    os.environ.update(VLLM_CPU_KVCACHE_SPACE="2", VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_OMP_THREADS_BIND="nobind", HF_HUB_OFFLINE="1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    import vllm

    rows = case["prompts"] * case["group"]
    llm = vllm.LLM(
        model=case["model"],
        dtype=case["dtype"],
        enforce_eager=not compiled,
        max_model_len=case["prompt_tokens"] + case["new_tokens"],
        max_num_seqs=rows,
        seed=0,
    )
    sampling = vllm.SamplingParams(n=case["group"], temperature=1.0, max_tokens=case["new_tokens"], ignore_eos=True)
    rounds = itertools.count()

    def work():
        prompts = [{"prompt_token_ids": prompt} for prompt in case_prompts(case, next(rounds))]
        outputs = llm.generate(prompts, sampling, use_tqdm=False)
        assert sum(len(completion.token_ids) for output in outputs for completion in output.outputs) == rows * case["new_tokens"]

    return work


def llama_cpp_sampler(case):
    import llama_cpp

    gguf = make_gguf(case)
    rows, group, context = case["prompts"] * case["group"], case["group"], case["prompt_tokens"] + case["new_tokens"]
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(str(gguf).encode(), llama_cpp.llama_model_default_params())
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = rows * context
    parameters.n_batch = parameters.n_ubatch = max(case["prompt_tokens"], rows)
    parameters.n_seq_max = rows
    parameters.n_threads = parameters.n_threads_batch = case["threads"]
    # One pool of cells, so that a group's prompt lies there once.
    parameters.kv_unified = True
    context_handle = llama_cpp.llama_init_from_model(model, parameters)
    memory = llama_cpp.llama_get_memory(context_handle)
    sampler = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    llama_cpp.llama_sampler_chain_add(sampler, llama_cpp.llama_sampler_init_dist(0))
    batch = llama_cpp.llama_batch_init(parameters.n_batch, 0, 1)
    rounds = itertools.count()

    def decode(entries):
        """(id, position, sequence, whether its logits are needed) each."""
        batch.n_tokens = len(entries)
        for i, (token, position, sequence, wanted) in enumerate(entries):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0], batch.logits[i] = sequence, wanted
        if llama_cpp.llama_decode(context_handle, batch) != 0:
            raise RuntimeError("llama_decode failed")

    def work():
        llama_cpp.llama_memory_clear(memory, True)
        tokens = []
        for number, prompt in enumerate(case_prompts(case, next(rounds))):
            first = number * group
            decode([(token, i, first, i == len(prompt) - 1) for i, token in enumerate(prompt)])
            tokens += [llama_cpp.llama_sampler_sample(sampler, context_handle, -1) for _ in range(group)]
            for other in range(first + 1, first + group):
                llama_cpp.llama_memory_seq_cp(memory, first, other, -1, -1)
        for step in range(case["new_tokens"] - 1):
            decode([(token, case["prompt_tokens"] + step, row, True) for row, token in enumerate(tokens)])
            tokens = [llama_cpp.llama_sampler_sample(sampler, context_handle, row) for row in range(rows)]

    return work


def make_gguf(case):
    """The folder's weights for llama.cpp in the case's dtype, made once beside it."""
    import gguf
    import numpy

    folder = pathlib.Path(case["model"])
    path = folder.with_name(f"{folder.name}-{case['dtype']}.gguf")
    if path.exists():
        return path
    config = json.loads((folder / "config.json").read_text())
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    family = config["model_type"]
    writer = gguf.GGUFWriter(str(path) + ".partial", family)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    # Ids come in and go out: the words are of no use.
    writer.add_tokenizer_model("none")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2 if family == "qwen2" else gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, values in read_safetensors(folder / "model.safetensors"):
        kind = name.split(".")[-2]
        # llama.cpp rotates pairs that lie side by side in its Llama, and halves in its Qwen2.
        if family == "llama" and kind in heads:
            values = values.reshape(heads[kind], 2, values.shape[0] // heads[kind] // 2, -1).swapaxes(1, 2).reshape(values.shape)
        low = case["dtype"] == "bfloat16" and values.ndim == 2
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        kind_of = gguf.GGMLQuantizationType.BF16
        if low:
            writer.add_tensor(target, gguf.quants.quantize(values.astype(numpy.float32), kind_of), raw_dtype=kind_of)
        else:
            writer.add_tensor(target, numpy.ascontiguousarray(values.astype(numpy.float32)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.rename(str(path) + ".partial", path)
    return path


def read_safetensors(path):
    """(name, values) of a float32 file."""
    import numpy

    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = file.tell()
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            assert entry["dtype"] == "F32", f"{path}: {name} is {entry['dtype']}"
            file.seek(start + entry["data_offsets"][0])
            size = entry["data_offsets"][1] - entry["data_offsets"][0]
            yield name, numpy.frombuffer(file.read(size), numpy.float32).reshape(entry["shape"])


def case_prompts(case, number):
    return peers.prompt_ids(case["prompts"], case["prompt_tokens"], peers.vocab_size(pathlib.Path(case["model"])), seed=number)


def main():
    kind, case = sys.argv[1], json.loads(sys.argv[2])
    makers = {
        "transformers": transformers_sampler,
        "vllm": lambda case: vllm_sampler(case, compiled=False),
        "vllm-compiled": lambda case: vllm_sampler(case, compiled=True),
        "llama-cpp": llama_cpp_sampler,
    }
    peers.serve(makers[kind](case))


if __name__ == "__main__":
    main()
