#include "models/head.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace headrace {
namespace {

// Logits of so many numbers are made at a time: a vocabulary's are a hundred kilobytes a row.
constexpr int64_t kLogitsAtATime = 1 << 20;
constexpr int64_t kMinChunkRows = 16;

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool has_roberta_head(std::string_view type) {
  return is_one_of(type, {"roberta", "xlm-roberta", "camembert", "mpnet", "jina_embeddings_v3"});
}

// The first of these tensors that the checkpoint has; the first of all when it has none, so that the message
// names it.
std::string first_of(const WeightReader& reader, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (reader.has(name)) return name;
  return *names.begin();
}

}  // namespace

std::unique_ptr<Head> Head::load(const HeadConfig& config, const Sizes& sizes, WeightReader& reader,
                                 const Kernels& kernels) {
  std::unique_ptr<Head> head(new Head(kernels));
  head->config_ = config;
  head->sizes_ = sizes;
  const auto labels = static_cast<int64_t>(config.labels.size());
  if (config.model_type == "modernbert") {
    head->load_modernbert(reader);
  } else if (config.task == "classify" || config.task == "rerank") {
    head->load_first_token(reader);
  } else if (config.task == "tag") {
    head->rows_ = AnswerRows::kToken;
    head->out_ = reader.linear("classifier", labels, sizes.hidden);
  } else if (config.task == "answer") {
    head->rows_ = AnswerRows::kToken;
    head->out_ = reader.linear("qa_outputs", labels, sizes.hidden);
  } else {
    head->rows_ = AnswerRows::kPicked;
    head->load_vocabulary(reader);
  }
  return head;
}

void Head::load_dense(const std::string& name, Curve curve, int64_t n, WeightReader& reader) {
  dense_ = reader.linear(name, n, sizes_.hidden);
  curve_ = curve;
}

// One head for all of its tasks: dense, GELU, norm, and what they want.
void Head::load_modernbert(WeightReader& reader) {
  const int64_t c = sizes_.hidden;
  dense_ = reader.projection({{"head.dense", c}}, c);
  curve_ = Curve::kGelu;
  norm_ = reader.layer_norm("head.norm", c, sizes_.norm_eps, sizes_.norm_has_bias);
  if (config_.task == "fill_mask") {
    rows_ = AnswerRows::kPicked;
    out_ = reader.linear_of(first_of(reader, {"decoder.weight", "model.embeddings.tok_embeddings.weight"}),
                            reader.has("decoder.bias") ? "decoder.bias" : "", sizes_.vocabulary, c);
    return;
  }
  if (config_.task == "tag" || config_.task == "answer") rows_ = AnswerRows::kToken;
  out_ = reader.linear("classifier", static_cast<int64_t>(config_.labels.size()), c);
}

// classify and rerank: a dense layer over the first token, here called pooler, there a part of the head.
void Head::load_first_token(WeightReader& reader) {
  const std::string& type = config_.model_type;
  const auto labels = static_cast<int64_t>(config_.labels.size());
  const int64_t c = sizes_.hidden;
  std::string out = "classifier";
  if (is_one_of(type, {"bert", "nomic_bert", "gte"})) {
    load_dense(type + ".pooler.dense", Curve::kTanh, c, reader);
  } else if (type == "albert") {
    load_dense("albert.pooler", Curve::kTanh, c, reader);
  } else if (type == "deberta-v2") {
    load_dense("pooler.dense", Curve::kGelu, c, reader);
  } else if (type == "distilbert") {
    load_dense("pre_classifier", Curve::kRelu, c, reader);
  } else if (has_roberta_head(type)) {
    load_dense("classifier.dense", Curve::kTanh, c, reader);
    out = "classifier.out_proj";
  } else if (type == "electra") {
    load_dense("classifier.dense", Curve::kGelu, c, reader);
    out = "classifier.out_proj";
  } else if (type != "vit" && type != "siglip") {
    throw Error(ErrorKind::kUnsupported,
                concat("a classification head on model_type '", type,
                       "': supported are bert, roberta, xlm-roberta, camembert, mpnet, distilbert, electra, "
                       "albert, deberta-v2, modernbert, nomic_bert, gte and jina_embeddings_v3"));
  }
  out_ = reader.linear(out, labels, c);
}

// fill_mask: dense, GELU, norm, then the vocabulary; its matrix is often the word embeddings' own.
void Head::load_vocabulary(WeightReader& reader) {
  const std::string& type = config_.model_type;
  const int64_t v = sizes_.vocabulary, e = sizes_.embedding;
  std::string dense, norm, weight, bias;
  if (type == "deberta-v2" && reader.has("lm_predictions.lm_head.dense.weight")) {
    dense = "lm_predictions.lm_head.dense";
    norm = "lm_predictions.lm_head.LayerNorm";
    weight = "deberta.embeddings.word_embeddings.weight";
    bias = "lm_predictions.lm_head.bias";
  } else if (is_one_of(type, {"bert", "nomic_bert", "deberta-v2"})) {
    dense = "cls.predictions.transform.dense";
    norm =
        type == "nomic_bert" ? "cls.predictions.transform.layer_norm" : "cls.predictions.transform.LayerNorm";
    weight = first_of(reader, {"cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight",
                               "nomic_bert.embeddings.word_embeddings.weight",
                               "deberta.embeddings.word_embeddings.weight"});
    bias = first_of(reader, {"cls.predictions.bias", "cls.predictions.decoder.bias"});
  } else if (type == "gte" || has_roberta_head(type)) {
    dense = "lm_head.dense";
    norm = type == "gte" ? "lm_head.norm" : "lm_head.layer_norm";
    weight = first_of(reader,
                      {"lm_head.decoder.weight", "roberta.embeddings.word_embeddings.weight",
                       "mpnet.embeddings.word_embeddings.weight", "gte.embeddings.word_embeddings.weight"});
    bias = first_of(reader, {"lm_head.bias", "lm_head.decoder.bias"});
  } else if (type == "distilbert") {
    dense = "vocab_transform";
    norm = "vocab_layer_norm";
    weight = first_of(reader, {"vocab_projector.weight", "distilbert.embeddings.word_embeddings.weight"});
    bias = "vocab_projector.bias";
  } else if (type == "electra") {
    dense = "generator_predictions.dense";
    norm = "generator_predictions.LayerNorm";
    weight = first_of(reader, {"generator_lm_head.weight", "electra.embeddings.word_embeddings.weight"});
    bias = "generator_lm_head.bias";
  } else if (type == "albert") {
    dense = "predictions.dense";
    norm = "predictions.LayerNorm";
    weight = first_of(reader, {"predictions.decoder.weight", "albert.embeddings.word_embeddings.weight"});
    bias = first_of(reader, {"predictions.bias", "predictions.decoder.bias"});
  } else {
    throw Error(
        ErrorKind::kUnsupported,
        concat("a masked-language-model head on model_type '", type,
               "': supported are bert, roberta, xlm-roberta, camembert, mpnet, distilbert, electra, albert, "
               "deberta-v2, modernbert, nomic_bert, gte and jina_embeddings_v3"));
  }
  load_dense(dense, Curve::kGelu, e, reader);
  norm_ = reader.layer_norm(norm, e, sizes_.norm_eps);
  out_ = reader.linear_of(weight, bias, v, e);
}

void Head::describe(ModelInfo& info) const {
  info.task = config_.task;
  info.rows = rows_;
  info.dimensions = out_.n;
  info.labels = config_.labels;
  info.activation = config_.activation;
  info.mask_token = config_.mask_token;
}

void Head::reserve(int64_t max_batch_tokens) {
  chunk_rows_ = std::min(max_batch_tokens, std::max(kMinChunkRows, kLogitsAtATime / out_.n));
  if (rows_ != AnswerRows::kToken) rows_in_ = Buffer(max_batch_tokens * sizes_.hidden);
  if (dense_) dense_out_ = Buffer(chunk_rows_ * dense_->n);
  logits_ = Buffer(chunk_rows_ * out_.n);
}

void Head::forward(const TokenBatch& batch, const float* hidden, std::span<float* const> outputs,
                   ThreadPool& pool) {
  const int64_t rows = rows_ == AnswerRows::kSequence ? batch.sequences()
                       : rows_ == AnswerRows::kToken  ? batch.tokens()
                                                      : static_cast<int64_t>(batch.picked.size());
  const float* in = gather(batch, hidden, rows);
  for (int64_t begin = 0; begin < rows; begin += chunk_rows_) {
    const int64_t count = std::min(chunk_rows_, rows - begin);
    const float* x = in + begin * sizes_.hidden;
    if (dense_) {
      dense_->forward(kernels_, pool, count, x, dense_out_.data(),
                      curve_ == Curve::kGelu ? Activation::kGelu : Activation::kNone);
      bend(dense_out_.data(), count * dense_->n, pool);
      if (norm_) norm_->forward(kernels_, pool, count, dense_out_.data(), dense_out_.data());
      x = dense_out_.data();
    }
    out_.forward(kernels_, pool, count, x, logits_.data());
    copy_out(batch, begin, begin + count, outputs);
  }
}

const float* Head::gather(const TokenBatch& batch, const float* hidden, int64_t rows) {
  if (rows_ == AnswerRows::kToken) return hidden;
  const int64_t c = sizes_.hidden;
  if (config_.is_mean && rows_ == AnswerRows::kSequence) {
    for (int64_t row = 0; row < rows; ++row) {
      const auto begin = batch.cu_lengths[static_cast<size_t>(row)];
      kernels_.mean_pool(hidden + begin * c, batch.cu_lengths[static_cast<size_t>(row) + 1] - begin, c,
                         rows_in_.data() + row * c);
    }
    return rows_in_.data();
  }
  for (int64_t row = 0; row < rows; ++row) {
    const auto token = rows_ == AnswerRows::kSequence ? batch.cu_lengths[static_cast<size_t>(row)]
                                                      : batch.picked[static_cast<size_t>(row)];
    std::memcpy(rows_in_.data() + row * c, hidden + token * c, static_cast<size_t>(c) * sizeof(float));
  }
  return rows_in_.data();
}

// The curves that no GEMM applies; a number depends on itself alone, so tasks may be cut anywhere.
void Head::bend(float* x, int64_t count, ThreadPool& pool) const {
  if (curve_ != Curve::kTanh && curve_ != Curve::kRelu) return;
  constexpr int64_t kPerTask = 4096;
  pool.parallel_for((count + kPerTask - 1) / kPerTask, [&](int64_t task, int) {
    float* const end = x + std::min(count, (task + 1) * kPerTask);
    for (float* p = x + task * kPerTask; p < end; ++p)
      *p = curve_ == Curve::kTanh ? std::tanh(*p) : std::max(*p, 0.0f);
  });
}

// Rows [begin, end) of all rows are in logits_; each goes to its sequence's answer.
void Head::copy_out(const TokenBatch& batch, int64_t begin, int64_t end, std::span<float* const> outputs) {
  const int64_t n = out_.n;
  int64_t row = 0;  // the first of sequence b
  for (int64_t b = 0; b < batch.sequences() && row < end; ++b) {
    const auto first = batch.cu_lengths[static_cast<size_t>(b)],
               last = batch.cu_lengths[static_cast<size_t>(b) + 1];
    int64_t count = 1;
    if (rows_ == AnswerRows::kToken) count = last - first;
    if (rows_ == AnswerRows::kPicked)
      count = std::lower_bound(batch.picked.begin(), batch.picked.end(), last) - batch.picked.begin() - row;
    const int64_t from = std::max(row, begin), to = std::min(row + count, end);
    if (from < to)
      std::memcpy(outputs[static_cast<size_t>(b)] + (from - row) * n, logits_.data() + (from - begin) * n,
                  static_cast<size_t>((to - from) * n) * sizeof(float));
    row += count;
  }
}

}  // namespace headrace
