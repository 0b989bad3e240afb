// The Python module headrace._core. Only calls the register functions; each bound class has its own file.
#include <pybind11/pybind11.h>

#include "bindings/bindings.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The C++ core of headrace. Use the names in the package headrace; these may change.";
  headrace::register_errors(module);
  headrace::register_info(module);
  headrace::register_kernel_timing(module);
  headrace::register_memory_file(module);  // what models are read from
  headrace::register_encoding(module);
  headrace::register_padded(module);
  headrace::register_tokenizer(module);
  headrace::register_engine(module);  // hands out tokenizers
  headrace::register_call_queue(module);
  headrace::register_safetensors(module);
  headrace::register_vector_json(module);
  headrace::register_plain_post(module);
  headrace::register_scores(module);
  headrace::register_vector_index(module);
  headrace::register_language_model(module);
  headrace::register_generator(module);
  headrace::register_gguf(module);
  headrace::register_personal_data(module);
  headrace::register_pictures(module);
  headrace::register_detections(module);
}
