"""Models of `transformers` from the disk, compared with the library itself; all weights are made here."""

import json

import pytest
import torch

from runtime.models.huggingface import HuggingFaceModel
from runtime.models.model import ModelError, Placement, TensorSpec

transformers = pytest.importorskip("transformers", reason="needs the extra hf")

BERT = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
        "max_position_embeddings": 64}


@pytest.fixture
def tokens():
    return torch.randint(1, 50, (3, 9), generator=torch.Generator().manual_seed(1))


def config_file(folder, config, **more):
    path = folder / "config.json"
    path.write_text(json.dumps({**config.to_dict(), **more}))
    return path


def loaded(path, **settings):
    model = HuggingFaceModel(path, Placement(), **settings)
    model.load()
    return model


def test_a_saved_folder(tmp_path, tokens):
    other = transformers.BertForSequenceClassification(transformers.BertConfig(**BERT, num_labels=3)).eval()
    other.save_pretrained(tmp_path)
    model = loaded(tmp_path)
    assert model.inputs == (TensorSpec("input_ids", "INT64", (-1, -1)), TensorSpec("attention_mask", "INT64", (-1, -1)))
    assert model.outputs == (TensorSpec("logits", "FP32", (-1, 3)),)
    mask = (torch.arange(9) < torch.tensor([[9], [5], [1]])).long()
    with torch.inference_mode():
        wanted = other(tokens, attention_mask=mask).logits
    torch.testing.assert_close(model.run((tokens, mask))[0], wanted)
    assert model.memory_bytes >= 4 * sum(p.numel() for p in other.parameters())
    model.warm_up(2)


def test_a_config_alone_with_weights_by_seed(tmp_path, tokens):
    path = config_file(tmp_path, transformers.BertConfig(**BERT))
    one, same, other = loaded(path), loaded(tmp_path), loaded(path, seed=1)
    assert [spec.name for spec in one.outputs] == ["last_hidden_state", "pooler_output"]
    assert one.outputs[0].shape == (-1, -1, 32)
    given = (tokens, torch.ones_like(tokens))
    assert torch.equal(one.run(given)[1], same.run(given)[1])
    assert not torch.allclose(one.run(given)[1], other.run(given)[1], atol=1e-3)


def test_a_class_that_the_config_names(tmp_path, tokens):
    path = config_file(tmp_path, transformers.BertConfig(**BERT), architectures=["BertForMaskedLM"])
    assert loaded(path).outputs == (TensorSpec("logits", "FP32", (-1, -1, 50)),)
    path = config_file(tmp_path, transformers.BertConfig(**BERT), architectures=["BertForNothing"])
    with pytest.raises(ModelError, match="has no BertForNothing"):
        loaded(path)


def test_pictures(tmp_path):
    config = transformers.ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
                                    image_size=32, patch_size=16, architectures=["ViTForImageClassification"])
    model = loaded(config_file(tmp_path, config))
    assert model.inputs == (TensorSpec("pixel_values", "FP32", (-1, 3, 32, 32)),)
    assert model.run((torch.randn(5, 3, 32, 32),))[0].shape == (5, 2)


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(ModelError, match="there; give a folder that save_pretrained wrote"):
        HuggingFaceModel(tmp_path, Placement())
    path = tmp_path / "config.json"
    for text, message in (("{", "is not JSON"), ("{}", "has no 'model_type'"), ("[1]", "has no 'model_type'")):
        path.write_text(text)
        with pytest.raises(ModelError, match=message):
            HuggingFaceModel(path, Placement())
    path.write_text('{"model_type": "nonsense"}')
    with pytest.raises(ModelError, match="nonsense"):
        loaded(path)
    path.write_text('{"model_type": "bert", "hidden_size": 30, "num_attention_heads": 4}')
    with pytest.raises(ModelError, match="hidden size"):
        loaded(path)
    with pytest.raises(ModelError, match="it runs whole; use inter_op 1"):
        HuggingFaceModel(path, Placement(inter_op=2))
    config_file(tmp_path, transformers.T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=2, vocab_size=50))
    with pytest.raises(ModelError, match=r"it does not run on input_ids, attention_mask alone .*; write a factory"):
        loaded(tmp_path)


def test_weights_that_are_not_all_there(tmp_path):
    transformers.BertModel(transformers.BertConfig(**BERT)).save_pretrained(tmp_path)
    config_file(tmp_path, transformers.BertConfig(**BERT), architectures=["BertForSequenceClassification"])
    with pytest.raises(ModelError, match=r"its files have no weights for classifier\.bias, classifier\.weight"):
        loaded(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="its weights are pickles"):
        loaded(tmp_path)
