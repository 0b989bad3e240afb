// What every binding file offers to module.cc: one register function per bound class.
#pragma once

#include <pybind11/pybind11.h>

namespace headrace {

class Error;
struct ModelMetrics;

// The Python exception of its kind, made but not raised.
pybind11::object exception_of(const Error& error);
pybind11::dict metrics_dict(const ModelMetrics& metrics);

void register_errors(pybind11::module_& module);
void register_info(pybind11::module_& module);
void register_memory_file(pybind11::module_& module);
void register_kernel_timing(pybind11::module_& module);
void register_safetensors(pybind11::module_& module);
void register_encoding(pybind11::module_& module);
void register_padded(pybind11::module_& module);
void register_tokenizer(pybind11::module_& module);
void register_engine(pybind11::module_& module);
void register_call_queue(pybind11::module_& module);
void register_vector_json(pybind11::module_& module);
void register_plain_post(pybind11::module_& module);
void register_scores(pybind11::module_& module);
void register_vector_index(pybind11::module_& module);
void register_language_model(pybind11::module_& module);
void register_generator(pybind11::module_& module);
void register_gguf(pybind11::module_& module);
void register_personal_data(pybind11::module_& module);
void register_pictures(pybind11::module_& module);
void register_detections(pybind11::module_& module);

}  // namespace headrace
