// Every kernel of the table and what launches them, compiled by nvcc for each architecture: the table on a
// stream of an NVIDIA GPU.
#include <cstdio>
#include <memory>
#include <new>
#include <string>

#include "kernels/cuda/cuda_devices.h"
#include "kernels/cuda/launches.h"

namespace headrace::cuda {
namespace {

// The first thing that goes wrong is kept for wait(); what is asked for afterwards is not worth a call.
class CudaStream : public DeviceTable {
 public:
  explicit CudaStream(int index) : index_(index) {
    note(cudaSetDevice(index_));
    note(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  }
  ~CudaStream() override {
    if (!stream_) return;
    cudaSetDevice(index_);
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
  }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  void* allocate(int64_t bytes) override {
    void* memory = nullptr;
    use();
    return cudaMalloc(&memory, static_cast<size_t>(bytes)) == cudaSuccess ? memory : forget_error();
  }
  void release(void* memory) override {
    use();
    note(cudaStreamSynchronize(stream_));
    note(cudaFree(memory));
  }
  void* allocate_host(int64_t bytes) override {
    void* memory = nullptr;
    use();
    return cudaMallocHost(&memory, static_cast<size_t>(bytes)) == cudaSuccess ? memory : forget_error();
  }
  void release_host(void* memory) override {
    use();
    note(cudaStreamSynchronize(stream_));
    note(cudaFreeHost(memory));
  }
  void upload(void* to, const void* from, int64_t bytes) override {
    use();
    note(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream_));
  }
  void download(void* to, const void* from, int64_t bytes) override {
    use();
    note(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream_));
  }
  const char* wait() override {
    use();
    note(cudaStreamSynchronize(stream_));
    const cudaError_t found = error_;
    error_ = cudaSuccess;
    return found == cudaSuccess ? nullptr : cudaGetErrorString(found);
  }

  void begin_recording() override {
    use();
    note(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  }
  void* end_recording() override {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t runnable = nullptr;
    if (cudaStreamEndCapture(stream_, &graph) == cudaSuccess && graph &&
        cudaGraphInstantiate(&runnable, graph, 0) != cudaSuccess)
      runnable = nullptr;
    if (graph) cudaGraphDestroy(graph);
    if (!runnable) forget_error();
    return runnable;
  }
  void replay(void* recording) override {
    use();
    note(cudaGraphLaunch(static_cast<cudaGraphExec_t>(recording), stream_));
  }
  void forget(void* recording) override {
    use();
    note(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(recording)));
  }

 protected:
  template <typename... Parameters, typename... Arguments>
  void launch(Grid grid, unsigned threads, void (*kernel)(Parameters...), Arguments... arguments) {
    use();
    kernel<<<dim3(grid.x, grid.y, grid.z), threads, 0, stream_>>>(static_cast<Parameters>(arguments)...);
    note(cudaGetLastError());
  }

 private:
  // A thread's device is its own, and may be another caller's last one.
  void use() { note(cudaSetDevice(index_)); }
  void note(cudaError_t error) {
    if (error_ == cudaSuccess) error_ = error;
  }
  // Of a call whose failure the caller sees, so that the next launch does not report it.
  static void* forget_error() {
    cudaGetLastError();
    return nullptr;
  }

  const int index_;
  cudaStream_t stream_ = nullptr;
  cudaError_t error_ = cudaSuccess;
};

DeviceTable* open(int index, char* why, int64_t bytes) {
  const auto refuse = [&](const std::string& reason) -> DeviceTable* {
    std::snprintf(why, static_cast<size_t>(bytes), "%s", reason.c_str());
    return nullptr;
  };
  if (const std::string reason = why_unavailable(); !reason.empty()) return refuse(reason);
  const int count = device_count();
  if (index >= count)
    return refuse("there are " + std::to_string(count) + ", from cuda:0 to cuda:" + std::to_string(count - 1));
  std::unique_ptr<DeviceTable> table(new (std::nothrow) Launches<CudaStream>(index));
  if (!table) return refuse("no memory");
  if (const char* const error = table->wait()) return refuse(error);
  return table.release();
}

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

const DeviceFactory& factory() {
  static const DeviceFactory devices{DeviceFactory::kVersion, open};
  return devices;
}

int device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

std::string why_unavailable() {
  int count = 0, driver = 0, built = CUDART_VERSION;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return "";
  cudaGetLastError();
  if (error == cudaSuccess || error == cudaErrorNoDevice) return "there is no NVIDIA GPU";
  cudaDriverGetVersion(&driver);
  if (driver == 0)
    return "there is no NVIDIA driver; install one that runs CUDA " + version_text(built) + " or later";
  if (error == cudaErrorInsufficientDriver)
    return "the NVIDIA driver runs CUDA " + version_text(driver) + "; this build needs " + version_text(built);
  return cudaGetErrorString(error);
}

std::string device_name(int index) {
  cudaDeviceProp properties;
  return cudaGetDeviceProperties(&properties, index) == cudaSuccess ? properties.name : "";
}

}  // namespace headrace::cuda
