"""Readers: what each format yields, and that every fault is named by file, line and reason."""

import pickle

import numpy as np
import pytest

from traces.errors import TraceError
from traces.public import read_azure_functions_2021, read_counts
from traces.readers import bin_length_s, form, read, read_arrivals, read_clients, read_rates, sum_clients

MINUTES = ",".join(str(m) for m in range(1, 1441))


def _minutes(counts):
    return ",".join(str(counts.get(m, 0)) for m in range(1, 1441))


def test_arrivals_keep_known_columns_and_empty_cells(write):
    path = write("a.csv.gz", "arrival_s,model,input_tokens,odd\n0,m,10,x\n1.5,n,,y\n1.5,n,7,z\n")
    frame = read(path)
    assert form(frame) == "arrivals"
    assert list(frame.columns) == ["arrival_s", "model", "input_tokens"]
    assert frame["arrival_s"].tolist() == [0.0, 1.5, 1.5]
    assert frame["input_tokens"].isna().tolist() == [False, True, False]


def test_rates_and_their_bin(write):
    frame = read(write("r.csv", "t_s,requests\n0,4\n300,0\n600,7\n"))
    assert form(frame) == "rates"
    assert bin_length_s(frame) == 300.0
    assert frame["requests"].tolist() == [4.0, 0.0, 7.0]


def test_clients_and_their_sum(write):
    frame = read(write("c.csv", "t_s,model,requests,cv\n0,a,3,1.5\n0,b,4,\n1200,a,5,\n"))
    assert form(frame) == "clients"
    assert frame["model"].tolist() == ["a", "b", "a"]
    summed = sum_clients(frame, 600.0)
    assert summed["requests"].tolist() == [7.0, 0.0, 5.0]
    assert summed["t_s"].tolist() == [0.0, 600.0, 1200.0]


def test_windows_line_ends_byte_order_mark_and_blank_lines_at_the_end(write):
    assert len(read(write("r.csv", "\ufefft_s,requests\r\n0,4\r\n1,5\r\n\r\n"))) == 2


def test_azure_llm_keeps_the_digits_of_100_ns(write):
    text = (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319601,3180,8\n"
        "2023-11-16 18:17:05,110,27\n"
    )
    frame = read(write("llm.csv", text))
    assert form(frame) == "arrivals"
    np.testing.assert_allclose(frame["arrival_s"], [0.0, 0.0520001, 1.02004], rtol=0, atol=1e-12)
    assert frame["input_tokens"].tolist() == [4808, 3180, 110]
    assert frame["output_tokens"].tolist() == [10, 8, 27]


def test_azure_llm_2024_has_zones(write):
    text = (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 00:00:01+00:00,2399,6\n"
    )
    np.testing.assert_allclose(read(write("llm.csv", text))["arrival_s"], [0.0, 0.99007], atol=1e-12)


def test_azure_functions_2019_counts_per_minute(write):
    rows = [f"o,p,f,http,{_minutes({1: 2, 1440: 3})}", f"o,p,g,timer,{_minutes({1: 1})}"]
    text = "\n".join([f"HashOwner,HashApp,HashFunction,Trigger,{MINUTES}", *rows])
    frame = read(write("invocations.csv", text))
    assert form(frame) == "clients"
    assert frame[["t_s", "model", "requests", "trigger"]].to_numpy().tolist() == [
        [0.0, "f", 2.0, "http"],
        [0.0, "g", 1.0, "timer"],
        [86340.0, "f", 3.0, "http"],
    ]
    assert sum_clients(frame, 60.0)["requests"].sum() == 6


def test_azure_functions_2021_is_sorted_by_start(write):
    text = "app,func,end_timestamp,duration\na,f,10.5,2.0\nb,g,4.0,1.0\nb,g,0.5,1.0\n"
    frame = read_azure_functions_2021(write("f.csv", text))
    assert frame["arrival_s"].tolist() == [3.0, 8.5]  # the third began before time 0
    assert frame["model"].tolist() == ["g", "f"]
    assert frame["service_s"].tolist() == [1.0, 2.0]


def test_burstgpt(write):
    text = (
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n"
        "45,GPT-4,1087,230,1317,API log\n"
    )
    frame = read(write("BurstGPT_1.csv", text))
    assert frame["arrival_s"].tolist() == [5.0, 45.0]
    assert frame["output_tokens"].tolist() == [18.0, 230.0]
    assert frame["log_type"].tolist() == ["Conversation log", "API log"]


def test_mooncake(write):
    text = '{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}\n'
    text += '{"timestamp": 3000, "input_length": 1, "output_length": 2, "hash_ids": []}\n'
    frame = read(write("mooncake_trace.jsonl", text))
    assert frame["arrival_s"].tolist() == [0.0, 3.0]
    assert frame["hash_ids"].tolist() == [[0, 1], []]


def test_counts_per_second(write):
    frame = read(write("workload.txt", "3 0 12\n7"))
    assert form(frame) == "rates"
    assert frame["requests"].tolist() == [3.0, 0.0, 12.0, 7.0]
    assert bin_length_s(frame) == 1.0


LLM = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
MOON = '{"timestamp": 5, "input_length": 1, "output_length": 2, "hash_ids": []}\n'


@pytest.mark.parametrize(
    ("name", "text", "line", "reason"),
    [
        ("a.csv", "", 1, "empty"),
        ("a.csv.gz", "\n\n", 1, "empty"),
        ("a.csv", "arrival_s\n", None, "no rows"),
        ("a.csv", "time,count\n1,2\n", 1, "unknown format"),
        ("a.csv", "arrival_s\n0\n2\n1.5\n", 4, "goes back from 2.0 to 1.5"),
        ("a.csv", "arrival_s\n0\n-1\n", 3, "negative"),
        ("a.csv", "arrival_s,input_tokens\n0,1\nnan,1\n", 3, "'arrival_s'"),
        ("a.csv", "arrival_s,input_tokens\n0,1\n,1\n", 3, "empty or NaN"),
        ("a.csv", "arrival_s,input_tokens\n0,1\n1,x\n", 3, "'x' is not a number"),
        ("a.csv", "arrival_s,input_tokens\n0,1\n1,inf\n", 3, "not finite"),
        ("a.csv", "arrival_s,input_tokens\n0,1\n1\n", 3, "1 fields where the header has 2"),
        ("a.csv", "arrival_s,input_tokens\n0,1\n1,2,3\n", 3, "3 fields"),
        ("a.csv", 'arrival_s,model\n0,"m"\n1\n', 3, "1 fields"),
        ("a.csv", "arrival_s,input_tokens\n0,1\n\n1,2\n", 3, "1 fields"),
        ("a.csv", "arrival_s,arrival_s\n0,1\n", 1, "twice"),
        ("r.csv", "t_s,requests\n0,1\n60,2\n180,3\n", 4, "missing or repeated: t_s is 180 where 120"),
        ("r.csv", "t_s,requests\n0,1\n0,2\n", 2, "missing or repeated"),
        ("r.csv", "t_s,requests\n0,1\n", 2, "one bin"),
        ("r.csv", "t_s,requests\n0,1\n60,1\r1,4\n", 3, "fields where"),
        ("r.csv", "t_s,requests\n0,1\n6|0\r1,4\n", 3, "new-line character"),
        ("r.csv", f't_s,requests\n0,"{"1" * 200_000}"\n', 2, "field limit"),
        ("r.csv", "t_s,requests\n0,1\n60,-2\n", 3, "negative"),
        ("c.csv", "t_s,model,requests\n600,a,1\n0,a,1\n", 3, "goes back"),
        ("llm.csv", LLM + "2023-11-16 18:17:03,1,2\nyesterday,1,2\n", 3, "not a date"),
        ("llm.csv", LLM + "2023-11-16 18:17:03,1,2\n2023-11-16 18:17:02,1,2\n", 3, "goes back"),
        ("llm.csv", LLM + "2023-11-16 18:17:03,1,2\n2023-11-16 18:17:04,-1,2\n", 3, "negative"),
        ("f19.csv", f"HashOwner,HashApp,HashFunction,Trigger,{MINUTES}\no,p,f,http,{_minutes({7: 'many'})}\n", 2, "'7'"),
        ("f21.csv", "app,func,end_timestamp,duration\na,f,1,-1\n", 2, "negative"),
        ("b.csv", BURST + "5,G,1,2,3,API log\n4,G,1,2,3,API log\n", 3, "goes back"),
        ("b.csv", "Timestamp,Model,Request tokens,Response tokens,Total tokens\n5,G,1,2,3\n", 1, "'Log Type' is missing"),
        ("m.jsonl", MOON + "{\n", 2, "JSON"),
        ("m.jsonl", MOON + "3\n", 2, "JSON object"),
        ("m.jsonl", MOON + '{"timestamp": 4, "input_length": 1, "output_length": 2, "hash_ids": []}\n', 2, "goes back"),
        ("m.jsonl", MOON + '{"timestamp": 6, "input_length": 1, "hash_ids": []}\n', 2, "'output_length' is missing"),
        ("m.jsonl", MOON + '{"timestamp": 6, "input_length": -1, "output_length": 2, "hash_ids": []}\n', 2, "negative"),
        ("m.jsonl", MOON + '{"timestamp": NaN, "input_length": 1, "output_length": 2, "hash_ids": []}\n', 2, "finite"),
        ("m.jsonl", '{"timestamp": 6, "input_length": 1, "output_length": 2}\n', 1, "hash_ids"),
        ("w.txt", "3 4\n5 x 6\n", 2, "word 2, 'x'"),
        ("w.txt", "3 4 -5\n", 1, "word 3"),
        ("w.txt", "3\n", 1, "one count"),
    ],
)
def test_faults_are_named(write, name, text, line, reason):
    path = write(name, text)
    with pytest.raises(TraceError) as caught:
        read(path)
    assert reason in caught.value.reason
    assert caught.value.file == str(path)
    if line is not None:
        assert caught.value.line == line
        assert str(caught.value).startswith(f"{path}:{line}: ")


def test_the_fault_of_a_late_line_is_found(write):
    rows = [f"{i},1" for i in range(5000)]
    rows[4321] = "4321,oops"
    with pytest.raises(TraceError) as caught:
        read_rates(write("r.csv.gz", "t_s,requests\n" + "\n".join(rows)))
    assert caught.value.line == 4323


def test_absent_damaged_and_binary_files(tmp_path, write):
    with pytest.raises(TraceError, match="cannot be read"):
        read_arrivals(tmp_path / "nowhere.csv")
    whole = write("r.csv.gz", "t_s,requests\n" + "\n".join(f"{i},1" for i in range(1000)))
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(TraceError, match="damaged gzip"):
        read_rates(cut)
    binary = tmp_path / "b.csv"
    binary.write_bytes(b"t_s,requests\n0,\xff\xfe\n")
    with pytest.raises(TraceError) as caught:
        read_clients(binary)
    assert caught.value.line == 2


def test_counts_too_large_are_refused(write):
    with pytest.raises(TraceError, match="64 bits"):
        read_counts(write("w.txt", "1 99999999999999999999999"))


def test_the_error_crosses_process_borders():
    error = pickle.loads(pickle.dumps(TraceError("f.csv", 3, "why")))
    assert (error.file, error.line, error.reason, str(error)) == ("f.csv", 3, "why", "f.csv:3: why")


def test_frames_of_no_form_and_rates_of_one_bin_are_refused(write):
    frame = read(write("r.csv", "t_s,requests\n0,4\n300,0\n"))
    with pytest.raises(ValueError, match="no known form"):
        form(frame[["t_s"]])
    with pytest.raises(ValueError, match="two bins"):
        bin_length_s(frame.head(1))
