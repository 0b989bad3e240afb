"""
The C++ core of headrace. Use the names in the package headrace; these may change.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing
import typing_extensions
__all__: list[str] = ['Call', 'CallBatch', 'CallQueue', 'CompletionQueue', 'Encoding', 'Engine', 'Generator', 'GgufFile', 'GgufWeights', 'KernelTimes', 'LanguageModel', 'MemoryFile', 'Padded', 'PersonalDataFinder', 'PersonalDataStream', 'PictureTransform', 'Ragged', 'Stream', 'StreamDecoder', 'Ticket', 'Tokenizer', 'VectorIndex', 'Window', 'available_cpus', 'cpu_model', 'decode_ssd', 'decode_yolo', 'embedding_objects_json', 'isa', 'json_numbers', 'json_tensors', 'known_isas', 'language_families', 'measure_peak_gflops', 'personal_data_kinds', 'picture_header', 'plain_post', 'prefer_latency', 'read_safetensors_header', 'register_devices', 'runnable_isas', 'softmax_top_k', 'suppress_boxes', 'tensor_json', 'time_kernel', 'time_reading']
class KernelTimes:
    """
    How long one run of a kernel took, and what it did.
    """
    @property
    def bytes(self) -> float:
        """
        Of one run: each array read or written once.
        """
    @property
    def operations(self) -> float:
        """
        Of one run.
        """
    @property
    def seconds(self) -> list[float]:
        """
        Of one run, a number for each sample.
        """
class MemoryFile:
    """
    A file of so many bytes in memory of its own, zeros at first; a buffer.
    """
    def __init__(self, size: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def __len__(self) -> int:
        ...
    def view(self) -> memoryview:
        """
        Its bytes, to read and write.
        """
class Encoding:
    """
    One encoded text: ids, and where in the text each token stands.
    """
    def __len__(self) -> int:
        ...
    def __repr__(self) -> str:
        ...
    def _repr_html_(self) -> str:
        ...
    @property
    def byte_offsets(self) -> list[tuple[int, int]]:
        """
        The offsets in bytes of the UTF-8 form of the text.
        """
    @property
    def ids(self) -> list[int]:
        """
        The token ids.
        """
    @property
    def num_tokens(self) -> int:
        """
        How many tokens the text has without max_tokens.
        """
    @property
    def offsets(self) -> list[tuple[int, int]]:
        """
        For each token its (begin, end) in characters of the text; (0, 0) for tokens that the template added.
        """
    @property
    def overflowing(self) -> list[Encoding]:
        """
        What max_tokens cut off, in parts with the same template around them; empty unless a stride was given.
        """
    @property
    def pair(self) -> typing.Any:
        """
        The second text, or None.
        """
    @property
    def sequence_ids(self) -> list:
        """
        For each token 0 or 1, the text it is from, or None if the template added it.
        """
    @property
    def special_tokens_mask(self) -> list[int]:
        """
        For each token 1 if the template added it, else 0.
        """
    @property
    def text(self) -> str:
        """
        The text that was encoded.
        """
    @property
    def tokens(self) -> list:
        """
        The tokens as strings.
        """
    @property
    def type_ids(self) -> list[int]:
        """
        For each token the segment that it belongs to.
        """
class Padded:
    """
    Several encoded texts, or pairs of texts, as one matrix: int32 arrays [rows, width].
    """
    def __len__(self) -> int:
        ...
    def __repr__(self) -> str:
        ...
    @property
    def attention_mask(self) -> numpy.ndarray:
        """
        0 for padding, else 1.
        """
    @property
    def ids(self) -> numpy.ndarray:
        """
        The token ids.
        """
    @property
    def offsets(self) -> numpy.ndarray:
        """
        [rows, width, 2]: where each token begins and ends, in characters of its text.
        """
    @property
    def rows(self) -> numpy.ndarray:
        """
        [rows]: the number of each row's text; parts that overflowed follow their text.
        """
    @property
    def sequence_ids(self) -> numpy.ndarray:
        """
        For each token 0 or 1, the text it is from, or -1 if it is from neither.
        """
    @property
    def special_tokens_mask(self) -> numpy.ndarray:
        """
        1 for tokens that the template added and for padding, else 0.
        """
    @property
    def type_ids(self) -> numpy.ndarray:
        """
        For each token the segment that it belongs to.
        """
class Ragged:
    """
    Sequences of different lengths without padding: sequence i is ids[cu_lengths[i]:cu_lengths[i + 1]].
    """
    def __getitem__(self, index: typing.SupportsInt | typing.SupportsIndex) -> typing.Any:
        """
        The ids of one sequence, a view.
        """
    def __len__(self) -> int:
        ...
    def __repr__(self) -> str:
        ...
    @property
    def cu_lengths(self) -> numpy.ndarray:
        """
        Where each sequence begins, and the total; int32.
        """
    @property
    def ids(self) -> numpy.ndarray:
        """
        All token ids, int32.
        """
class StreamDecoder:
    """
    Text of ids that come one by one.
    
    What is handed out is certain: never half a character, and all of it together is decode() of all ids.
    
    >>> stream = tokenizer.stream_decoder()  # doctest: +SKIP
    >>> "".join(map(stream.push, ids)) + stream.finish()  # doctest: +SKIP
    """
    def finish(self) -> str:
        """
        The text that was still waiting; the decoder is then as new.
        """
    def push(self, id: typing.SupportsInt | typing.SupportsIndex) -> str:
        """
        The text that this id makes certain; may be empty.
        """
class Tokenizer:
    """
    Text to token ids, as a tokenizer.json says.
    
    Ids, tokens and offsets are those of the `tokenizers` library. The file's truncation and padding are ignored:
    pass max_tokens to truncate, and call encode_padded for a matrix.
    
    >>> tokenizer = headrace.Tokenizer.from_model("path/to/model")  # doctest: +SKIP
    >>> tokenizer.encode("Hello world").tokens  # doctest: +SKIP
    ['[CLS]', 'hello', 'world', '[SEP]']
    """
    @staticmethod
    def from_file(path: typing.Any, *, encoding: str = '') -> Tokenizer:
        """
        Reads a tokenizer.json, vocab.txt, SentencePiece .model, tiktoken rank file or GGUF. encoding: how a rank file's text is split, such as 'o200k_base'; by default the file's name.
        """
    @staticmethod
    def from_model(model: typing.Any) -> Tokenizer:
        """
        Reads the tokenizer of a model's directory, sealed or not, or of demo:minilm.
        """
    @staticmethod
    def from_str(json: str) -> Tokenizer:
        """
        Reads the text of a tokenizer.json.
        """
    @staticmethod
    def json_of_file(path: typing.Any, *, encoding: str = '') -> str:
        """
        The text of the tokenizer.json that from_file reads or, of other kinds of files, makes.
        """
    def __repr__(self) -> str:
        ...
    def count(self, text: typing.Any, *, add_special_tokens: bool = True, allow_special: bool = False) -> int:
        """
        How many tokens the text has; no ids are made for Python.
        """
    def decode(self, ids: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], *, skip_special_tokens: bool = True) -> str:
        """
        The text that the ids stand for; ids that no token has are left out.
        """
    def decode_batch(self, batch: collections.abc.Sequence[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]], *, skip_special_tokens: bool = True) -> list[str]:
        """
        The texts of several lists of ids.
        """
    def encode(self, text: typing.Any, pair: typing.Any = None, *, add_special_tokens: bool = True, max_tokens: typing.SupportsInt | typing.SupportsIndex | None = None, truncation: str = 'longest_first', truncation_side: str = 'right', stride: typing.SupportsInt | typing.SupportsIndex | None = None, allow_special: bool = False, guarded: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] = []) -> Encoding:
        """
        Encodes one text, or two as the model joins them.
        
        Special tokens spelled out in the text stay text unless allow_special; with `guarded`, byte offsets in the text,
        those stay text that cover such a byte (see ChatTemplate).
        
        max_tokens keeps that many tokens, special ones included. truncation says which text gives tokens: the longer of
        two ("longest_first"), "only_first" or "only_second"; truncation_side, from which end: "right" or "left". With a
        stride, what is cut off comes in Encoding.overflowing, in parts that share that many tokens with the part before.
        
        >>> encoding = tokenizer.encode(question, context, max_tokens=384, truncation="only_second", stride=128)  # doctest: +SKIP
        >>> parts = [encoding, *encoding.overflowing]  # doctest: +SKIP
        """
    def encode_batch(self, texts: typing.Any, *, add_special_tokens: bool = True, max_tokens: typing.SupportsInt | typing.SupportsIndex | None = None, truncation_side: str = 'right', allow_special: bool = False, threads: typing.SupportsInt | typing.SupportsIndex | None = None) -> Ragged:
        """
        Encodes several texts to ids only, without padding, on `threads` threads, by default one for every processor. max_tokens and truncation_side: as in encode. Releases the GIL.
        """
    def encode_ids(self, text: typing.Any, *, add_special_tokens: bool = True, allow_special: bool = False) -> list[int]:
        """
        The ids of one text alone, as a list: quicker than encode().
        """
    def encode_padded(self, texts: typing.Any, pairs: typing.Any = None, *, add_special_tokens: bool = True, max_tokens: typing.SupportsInt | typing.SupportsIndex | None = None, truncation: str = 'longest_first', truncation_side: str = 'right', stride: typing.SupportsInt | typing.SupportsIndex | None = None, length: typing.SupportsInt | typing.SupportsIndex | None = None, multiple_of: typing.SupportsInt | typing.SupportsIndex | None = None, padding_side: str = 'right', pad_id: typing.SupportsInt | typing.SupportsIndex = 0, pad_type_id: typing.SupportsInt | typing.SupportsIndex = 0, allow_special: bool = False, threads: typing.SupportsInt | typing.SupportsIndex | None = None) -> Padded:
        """
        Encodes several texts, or pairs of texts, as one matrix; see Padded.
        
        add_special_tokens to stride: as in encode; with a stride, parts that overflow are rows of their own. Rows are
        filled up to the longest, or to `length` where that is more, rounded up to a multiple of multiple_of, with pad_id
        and pad_type_id at padding_side. Releases the GIL.
        
        >>> batch = tokenizer.encode_padded(["one", "two words"], pad_id=0)  # doctest: +SKIP
        >>> model(batch.ids, batch.attention_mask)  # doctest: +SKIP
        """
    def id_to_token(self, id: typing.SupportsInt | typing.SupportsIndex) -> str | None:
        """
        The token of an id, or None.
        """
    def special_tokens(self) -> list[str]:
        """
        The special tokens, which a text spells in vain unless allow_special.
        """
    def stream_decoder(self, *, skip_special_tokens: bool = True) -> StreamDecoder:
        """
        A decoder for ids that come one by one, as a model generates them.
        """
    def token_to_id(self, token: str) -> int | None:
        """
        The id of a token, or None.
        """
    @property
    def kind(self) -> str:
        """
        The name of its model: WordPiece, BPE, Unigram or WordLevel.
        """
    @property
    def vocab_size(self) -> int:
        """
        The largest id + 1, added tokens included.
        """
class CompletionQueue:
    """
    Finished tickets on their way to one event loop.
    """
    def __init__(self) -> None:
        ...
    def drain(self) -> list[int]:
        """
        The ids of finished tickets, in order.
        """
    def fileno(self) -> int:
        """
        Readable while finished tickets wait.
        """
    def wake(self) -> None:
        """
        Makes it readable though nothing finished: for news of another kind.
        """
class Window:
    """
    A piece of a long text that was run as a sequence of its own.
    """
    @property
    def ids(self) -> numpy.ndarray:
        """
        int32 [L]: the token ids.
        """
    @property
    def input(self) -> int:
        """
        Which of the request's texts it is from.
        """
    @property
    def offsets(self) -> numpy.ndarray:
        """
        int32 [L, 2]: where each token begins and ends, in characters of its text.
        """
    @property
    def sequence_ids(self) -> numpy.ndarray:
        """
        int32 [L]: 0 or 1, the text a token is from; -1: the model's template.
        """
class Ticket:
    """
    One submitted request.
    """
    def lengths(self, limit: typing.SupportsInt | typing.SupportsIndex) -> list[int]:
        """
        The tokens of each sequence, of the first `limit` ones.
        """
    def vectors(self) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32 [rows, dimensions], sharing the engine's memory; raises what failed. A sequence has one row, one for each token or one for each place to fill, as the model's task has it.
        """
    def windows(self) -> list[Window]:
        """
        By sequence, for a request with a stride; else empty.
        """
    @property
    def done(self) -> bool:
        ...
    @property
    def error(self) -> typing.Any | None:
        """
        The exception that `vectors` would raise: at once when the queue was full; else None.
        """
    @property
    def id(self) -> int:
        ...
    @property
    def row_starts(self) -> list[int]:
        """
        The first row of each sequence, and the number of all rows.
        """
    @property
    def sequences(self) -> int:
        ...
    @property
    def tokens(self) -> int:
        ...
    @property
    def truncated(self) -> int:
        ...
class Engine:
    """
    The serving core. Use headrace.Engine.
    """
    def __init__(self, *, threads: typing.SupportsInt | typing.SupportsIndex = 0, queue_budget_us: typing.SupportsInt | typing.SupportsIndex = 500000, max_batch_tokens: typing.SupportsInt | typing.SupportsIndex = 512) -> None:
        ...
    def add(self, name: str, directory: str, *, task: str = '', precision: str = 'auto', files: dict | None = None, device: str = 'cpu') -> None:
        """
        files: what the directory holds, by path inside it, where that is in memory and not on disk; the dict is emptied.
        """
    def cancel(self, model: str, ticket: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def check_texts(self, model: str, texts: list, prompt: str = '') -> None:
        """
        Raises what submitting these texts would.
        """
    def close(self, drain: bool) -> None:
        ...
    def info(self, name: str) -> dict:
        ...
    def metrics(self, name: str) -> dict:
        ...
    def names(self) -> list[str]:
        ...
    def prepare_picture(self, model: str, picture: numpy.typing.NDArray[numpy.uint8]) -> numpy.typing.NDArray[numpy.float32]:
        """
        uint8 [height, width, 3] -> float32 [3, height, width] by the model's own preprocessing.
        """
    def remove(self, name: str) -> None:
        ...
    def submit_ids(self, model: str, ids: list, truncate: bool, priority: typing.SupportsInt | typing.SupportsIndex, wait: bool, timeout_us: typing.SupportsInt | typing.SupportsIndex, completions: CompletionQueue | None) -> Ticket:
        ...
    def submit_inputs(self, model: str, texts: list, pairs: list | None, argument: str, first_argument: str, truncate: bool, stride: typing.SupportsInt | typing.SupportsIndex | None, window_tokens: typing.SupportsInt | typing.SupportsIndex, priority: typing.SupportsInt | typing.SupportsIndex, wait: bool, timeout_us: typing.SupportsInt | typing.SupportsIndex, completions: CompletionQueue | None) -> Ticket:
        """
        Texts, or pairs of texts, of which the second is cut; with a stride, windows over long ones.
        """
    def submit_pictures(self, model: str, pictures: list, priority: typing.SupportsInt | typing.SupportsIndex, wait: bool, timeout_us: typing.SupportsInt | typing.SupportsIndex, completions: CompletionQueue | None) -> Ticket:
        """
        Arrays of pixels, uint8 [height, width, 3], or of what the model's own preprocessing makes of them, float32 [3, height, width].
        """
    def submit_texts(self, model: str, texts: list, truncate: bool, priority: typing.SupportsInt | typing.SupportsIndex, wait: bool, timeout_us: typing.SupportsInt | typing.SupportsIndex, completions: CompletionQueue | None, prompt: str = '') -> Ticket:
        """
        Each text behind the prompt, as one text.
        """
    def tokenizer(self, name: str) -> Tokenizer:
        ...
    def wait(self, ticket: Ticket, timeout_us: typing.SupportsInt | typing.SupportsIndex) -> bool:
        """
        Waits for a ticket; True when it is finished.
        """
    @property
    def threads(self) -> int:
        ...
class Call:
    """
    One submitted request of a CallQueue.
    """
    @property
    def done(self) -> bool:
        ...
    @property
    def error(self) -> typing.Any | None:
        """
        The exception that it failed with; else None.
        """
    @property
    def id(self) -> int:
        ...
    @property
    def items(self) -> int:
        ...
    @property
    def payload(self) -> typing.Any:
        ...
class CallBatch:
    """
    Items that run together.
    """
    @property
    def parts(self) -> list:
        """
        A tuple (payload, start, stop) for each run of neighbouring items of one call, in order.
        """
class CallQueue:
    """
    The queue in front of a model that runs outside the core.
    """
    def __init__(self, *, max_batch: typing.SupportsInt | typing.SupportsIndex, max_wait_us: typing.SupportsInt | typing.SupportsIndex, queue_budget_us: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def cancel(self, call: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def close(self, drain: bool, timeout_us: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def finish(self, batch: CallBatch, failures: collections.abc.Sequence[tuple[typing.SupportsInt | typing.SupportsIndex, str, str, str]]) -> None:
        """
        failures: (part, kind, message, code) of parts that failed, which ends their calls.
        """
    def metrics(self) -> dict:
        ...
    def next(self, timeout_us: typing.SupportsInt | typing.SupportsIndex) -> CallBatch | None:
        """
        The next batch; None when none came in time, and once it is closed.
        """
    def submit(self, items: typing.SupportsInt | typing.SupportsIndex, payload: typing.Any, priority: typing.SupportsInt | typing.SupportsIndex, wait: bool, timeout_us: typing.SupportsInt | typing.SupportsIndex, completions: CompletionQueue | None) -> Call:
        ...
    def wait(self, call: Call, timeout_us: typing.SupportsInt | typing.SupportsIndex) -> bool:
        """
        Waits for a call; True when it is finished.
        """
    @property
    def closed(self) -> bool:
        ...
class VectorIndex:
    """
    Exact search in memory. Use headrace.VectorIndex.
    """
    def __init__(self, vectors: numpy.typing.NDArray[numpy.float32], metric: str, threads: typing.SupportsInt | typing.SupportsIndex | None) -> None:
        ...
    def scores(self, queries: numpy.typing.NDArray[numpy.float32]) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32 [q, n]: the scores of all vectors.
        """
    def search(self, queries: numpy.typing.NDArray[numpy.float32], k: typing.SupportsInt | typing.SupportsIndex) -> tuple:
        """
        (int64 [q, k], float32 [q, k]): the nearest vectors, best first, and their scores.
        """
    @property
    def dimensions(self) -> int:
        ...
    @property
    def size(self) -> int:
        ...
    @property
    def threads(self) -> int:
        ...
class LanguageModel:
    """
    A language model's logits, one sequence at a time.
    """
    def __init__(self, path: str, *, precision: str = 'auto', isa: str = 'auto', threads: typing.SupportsInt | typing.SupportsIndex | None = None, kv: str = 'f32') -> None:
        ...
    def logits(self, ids: numpy.typing.NDArray[numpy.int32], *, step: typing.SupportsInt | typing.SupportsIndex = 256) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32 [n, V]: the logits of the token after each of ids (int32 [n]), `step` tokens at a time.
        """
    @property
    def parameters(self) -> int:
        ...
    @property
    def precision(self) -> str:
        ...
    @property
    def vocabulary(self) -> int:
        ...
    @property
    def weight_bytes(self) -> int:
        ...
class Stream:
    """
    One request for generated text.
    """
    def take(self) -> tuple:
        """
        (text, [(id, logprob, top), ...], finish reason or None, exception or None) since the last call.
        """
    @property
    def accepted_tokens(self) -> int:
        """
        Of the generated tokens, those that had been proposed.
        """
    @property
    def cached_tokens(self) -> int:
        """
        Of the prompt, tokens that another request had computed before.
        """
    @property
    def done(self) -> bool:
        """
        Whether `take` has something to give.
        """
    @property
    def ended(self) -> bool:
        ...
    @property
    def generated_tokens(self) -> int:
        ...
    @property
    def id(self) -> int:
        ...
    @property
    def prompt_tokens(self) -> int:
        ...
class Generator:
    """
    Runs one language model for many requests. Use headrace.load.
    """
    def __init__(self, path: str, *, precision: str = 'auto', threads: typing.SupportsInt | typing.SupportsIndex | None = None, context: typing.SupportsInt | typing.SupportsIndex = 0, cache_tokens: typing.SupportsInt | typing.SupportsIndex = 0, step_tokens: typing.SupportsInt | typing.SupportsIndex = 256, max_sequences: typing.SupportsInt | typing.SupportsIndex = 64, speculation: typing.SupportsInt | typing.SupportsIndex = -1, kv: str = 'auto', files: dict | None = None, draft: str | None = None, draft_files: dict | None = None, device: str = 'cpu') -> None:
        ...
    def add_adapter(self, name: str, directory: str) -> None:
        ...
    def cancel(self, stream: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def close(self) -> None:
        ...
    def info(self) -> dict:
        ...
    def metrics(self) -> dict:
        ...
    def remove_adapter(self, name: str) -> None:
        ...
    def submit(self, prompt: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], *, temperature: typing.SupportsFloat | typing.SupportsIndex = 1.0, top_k: typing.SupportsInt | typing.SupportsIndex = 0, top_p: typing.SupportsFloat | typing.SupportsIndex = 1.0, min_p: typing.SupportsFloat | typing.SupportsIndex = 0.0, repetition_penalty: typing.SupportsFloat | typing.SupportsIndex = 1.0, presence_penalty: typing.SupportsFloat | typing.SupportsIndex = 0.0, frequency_penalty: typing.SupportsFloat | typing.SupportsIndex = 0.0, logit_bias: collections.abc.Sequence[tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsFloat | typing.SupportsIndex]] = [], seed: typing.SupportsInt | typing.SupportsIndex = 0, top_logprobs: typing.SupportsInt | typing.SupportsIndex = -1, max_tokens: typing.SupportsInt | typing.SupportsIndex = 0, min_tokens: typing.SupportsInt | typing.SupportsIndex = 0, stop: collections.abc.Sequence[str] = [], stop_ids: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] = [], ignore_eos: bool = False, priority: typing.SupportsInt | typing.SupportsIndex = 0, timeout_us: typing.SupportsInt | typing.SupportsIndex = 0, tenant: str = '', queue: CompletionQueue | None = None, mask: typing.Any = None, adapter: str = '') -> Stream:
        """
        Queues a prompt of token ids; raises InvalidArgumentError, OverloadedError or CancelledError.
        """
    def wait(self, stream: Stream, timeout_us: typing.SupportsInt | typing.SupportsIndex) -> bool:
        """
        Whether the stream has news before the time is over.
        """
    @property
    def begin_id(self) -> int:
        ...
    @property
    def chat_template(self) -> str:
        """
        The Jinja template of a GGUF; empty where there is none.
        """
    @property
    def end_ids(self) -> list[int]:
        ...
    @property
    def kv(self) -> str:
        """
        What keys and values are kept in: f32, bf16 or int8.
        """
    @property
    def threads(self) -> int:
        ...
    @property
    def tokenizer(self) -> Tokenizer:
        ...
class GgufFile:
    """
    A GGUF file, llama.cpp's format, as read-only memory.
    """
    @staticmethod
    def open(path: str) -> GgufFile:
        """
        Raises ModelNotFoundError, CorruptFileError or UnsupportedError.
        """
    def names(self) -> list[str]:
        ...
    def tensor(self, name: str) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32: the numbers that the tensor stands for.
        """
class GgufWeights:
    """
    A GGUF's tensors under the names, and in the order of rows, that Hugging Face checkpoints have them.
    """
    @staticmethod
    def open(path: str) -> GgufWeights:
        """
        Raises ModelNotFoundError, CorruptFileError or UnsupportedError.
        """
    def __contains__(self, arg0: str) -> bool:
        ...
    def settings(self) -> dict:
        """
        What config.json says elsewhere. Raises UnsupportedError for an architecture that is not known.
        """
    def tensor(self, name: str) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32: the numbers of the tensor of that name.
        """
class PersonalDataStream:
    """
    Finds personal data in text that arrives in pieces.
    """
    def feed(self, piece: typing.Any) -> tuple[str, list[tuple[str, int, int]]]:
        """
        Takes a piece; returns the text that is settled by now, and its findings.
        """
    def finish(self) -> tuple[str, list[tuple[str, int, int]]]:
        """
        The rest and its findings; another text may follow.
        """
class PersonalDataFinder:
    """
    Finds personal data of some kinds. Thread-safe.
    """
    def __init__(self, kinds: collections.abc.Sequence[str], *, placeholders: bool = False) -> None:
        ...
    def find(self, text: typing.Any) -> list[tuple[str, int, int]]:
        """
        (kind, begin, end) for each finding, in their order; offsets in characters.
        """
    def stream(self) -> PersonalDataStream:
        """
        For a text that arrives in pieces.
        """
class PictureTransform:
    """
    What is done to a picture before a model sees it. Use headrace.pictures.
    """
    def __init__(self, *, resize: str, resize_size: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(2)"], filter: str, canvas: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(2)"] | None, fill: typing.SupportsInt | typing.SupportsIndex, scale: typing.SupportsFloat | typing.SupportsIndex, mean: typing.Annotated[collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], "FixedSize(3)"], std: typing.Annotated[collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], "FixedSize(3)"], patch: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def boxes_in_picture(self, width: typing.SupportsInt | typing.SupportsIndex, height: typing.SupportsInt | typing.SupportsIndex, boxes: typing.Annotated[numpy.typing.ArrayLike, numpy.float32]) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32 [n, 4]: boxes of the canvas in the pixels of a picture of that size.
        """
    def canvas(self, picture: numpy.typing.NDArray[numpy.uint8]) -> numpy.typing.NDArray[numpy.uint8]:
        """
        uint8 [height, width, 3]: the picture resized, cut or padded.
        """
    def place(self, width: typing.SupportsInt | typing.SupportsIndex, height: typing.SupportsInt | typing.SupportsIndex) -> typing.Annotated[list[int], "FixedSize(6)"]:
        """
        [scaled width, scaled height, left, top, canvas width, canvas height] of a picture of that size.
        """
    def run(self, pictures: collections.abc.Sequence[typing.Annotated[numpy.typing.ArrayLike, numpy.uint8]], threads: typing.SupportsInt | typing.SupportsIndex | None) -> list[numpy.typing.NDArray[numpy.float32]]:
        """
        Each uint8 [height, width, 3] as float32 [3, height, width] or [patches, 3 side side].
        """
def available_cpus() -> int:
    """
    Processors this process may run on.
    """
def cpu_model() -> str:
    """
    The processor's own name for itself.
    """
def decode_ssd(locations: numpy.typing.NDArray[numpy.float32], scores: numpy.typing.NDArray[numpy.float32], anchors: numpy.typing.NDArray[numpy.float32], *, threshold: typing.SupportsFloat | typing.SupportsIndex, variances: typing.Annotated[collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], "FixedSize(2)"]) -> tuple:
    """
    (float32 [n, 4], float32 [n], int32 [n]): corners, scores and classes above the threshold.
    """
def decode_yolo(output: numpy.typing.NDArray[numpy.float32], *, threshold: typing.SupportsFloat | typing.SupportsIndex, objectness: bool, transposed: bool) -> tuple:
    """
    (float32 [n, 4], float32 [n], int32 [n]): corners, scores and classes above the threshold.
    """
def embedding_objects_json(vectors: numpy.typing.NDArray[numpy.float32], base64: bool) -> bytes:
    """
    The JSON array of embedding objects for float32 vectors [n, columns], as bytes.
    """
def isa() -> str:
    """
    The kernel table in use. HEADRACE_ISA forces one; asking for what the processor lacks raises.
    """
def json_numbers(json: bytes) -> numpy.ndarray | None:
    """
    The array that a JSON value of numbers is, int64 or float64 as numpy.asarray has it; None for anything but numbers in nested arrays of equal lengths, and for what is not exact.
    """
def json_tensors(json: bytes) -> dict | None:
    """
    The arrays that the members of a JSON object are, by name; None where one of them is none.
    """
def known_isas() -> list[str]:
    """
    The kernel tables in this build, best first.
    """
def language_families() -> list[str]:
    """
    Every model_type of a language model that is known.
    """
def measure_peak_gflops(isa: str = 'auto', threads: typing.SupportsInt | typing.SupportsIndex = 1, precision: str = 'f32') -> float:
    """
    GFLOP/s (GOP/s in int8) on registers alone: the ceiling for every kernel of that table.
    """
def personal_data_kinds() -> list[str]:
    """
    The names of the kinds of personal data that can be found.
    """
def picture_header(file: typing_extensions.Buffer) -> tuple:
    """
    (format, width, height, orientation, scans, has_extras) of an encoded picture, from its first bytes; an unknown format is ''. See cpp/media/picture_header.h.
    """
def plain_post(data: bytes, target: bytes, max_body_bytes: typing.SupportsInt | typing.SupportsIndex, any_body: bool = False) -> tuple[int, int, str, str | None, str | None, str | None] | None:
    """
    Where the body of the plain POST at the start of `data` begins and ends, with its host, x-request-id, authorization and, of a route that takes any body, inference-header-content-length; None for anything unusual.
    """
def prefer_latency() -> bool:
    """
    Asks the system to run this thread soon after it wakes; True where that is possible.
    """
def read_safetensors_header(path: str) -> dict:
    """
    Tensor name -> (dtype, shape, begin, end); offsets count from the start of the data.
    """
def register_devices(factory: typing_extensions.CapsuleType) -> None:
    """
    Makes the GPUs known that headrace._cuda.factory() gives.
    """
def runnable_isas() -> list[str]:
    """
    The kernel tables that this processor can run, best first.
    """
def softmax_top_k(logits: numpy.typing.NDArray[numpy.float32], top_k: typing.SupportsInt | typing.SupportsIndex) -> tuple:
    """
    (int32 [rows, top_k], float32 [rows, top_k]): the columns with the largest logits, best first, of equal ones the first, and their share in the softmax of the whole row.
    """
def suppress_boxes(boxes: numpy.typing.NDArray[numpy.float32], scores: numpy.typing.NDArray[numpy.float32], classes: numpy.typing.NDArray[numpy.int32], *, max_overlap: typing.SupportsFloat | typing.SupportsIndex, across_classes: bool, max_detections: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.int32]:
    """
    int32 [kept]: the places of the boxes that stay, best first.
    """
def tensor_json(tensor: numpy.typing.NDArray[numpy.float32]) -> bytes:
    """
    A C-contiguous float32 array of any shape as nested JSON arrays, as bytes; NaN and infinity are null.
    """
def time_kernel(isa: str, kernel: str, *, precision: str = 'f32', rows: typing.SupportsInt | typing.SupportsIndex, n: typing.SupportsInt | typing.SupportsIndex, k: typing.SupportsInt | typing.SupportsIndex = 1, gelu: bool = False, residual: bool = False, threads: typing.SupportsInt | typing.SupportsIndex = 1, seconds: typing.SupportsFloat | typing.SupportsIndex = 0.1) -> KernelTimes:
    """
    Runs one kernel of a table for about so many seconds on arrays of its own.
    """
def time_reading(bytes: typing.SupportsInt | typing.SupportsIndex, threads: typing.SupportsInt | typing.SupportsIndex = 1, seconds: typing.SupportsFloat | typing.SupportsIndex = 0.1) -> list[float]:
    """
    GB/s at which so much memory is read from end to end, a number for each sample.
    """
__version__: str = '0.1.0'
