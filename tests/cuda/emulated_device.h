// The device that models run on here: the table's launches (launches.h) under the emulator.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/launches.h"
#include "simt.h"

namespace headrace::cuda {

class EmulatedMachine : public DeviceTable {
 public:
  // The launch, counted from 1 and over all machines, that fails; 0: none does.
  static inline int64_t failing_launch = 0;
  // Of every launch from now on.
  static inline simt::Schedule schedule = simt::Schedule::kForward;
  static inline int64_t allocations = 0, launches = 0,
                        replays = 0;  // of all machines; the first: living ones

  void* allocate(int64_t bytes) override { return take(bytes); }
  void release(void* memory) override { give_back(memory); }
  void* allocate_host(int64_t bytes) override { return take(bytes); }
  void release_host(void* memory) override { give_back(memory); }
  void upload(void* to, const void* from, int64_t bytes) override { copy(to, from, bytes); }
  void download(void* to, const void* from, int64_t bytes) override { copy(to, from, bytes); }
  const char* wait() override {
    told_ = std::move(error_);
    error_.clear();
    return told_.empty() ? nullptr : told_.c_str();
  }

  void begin_recording() override { recording_ = std::make_unique<Recording>(); }
  void* end_recording() override { return recording_.release(); }
  void replay(void* recording) override {
    ++replays;
    for (const auto& each : *static_cast<Recording*>(recording)) each();
  }
  void forget(void* recording) override { delete static_cast<Recording*>(recording); }

 protected:
  template <typename Kernel, typename... Arguments>
  void launch(Grid grid, unsigned threads, Kernel kernel, Arguments... arguments) {
    const auto run = [=, this] {
      if (++launches == failing_launch) error_ = "planted";
      try {
        simt::launch({.grid = {grid.x, grid.y, grid.z}, .block = {threads}, .schedule = schedule, .seed = 1},
                     [&] { kernel(arguments...); });
      } catch (const std::runtime_error& error) {
        if (error_.empty()) error_ = error.what();
      }
    };
    if (recording_)
      recording_->push_back(run);
    else
      run();
  }

 private:
  using Recording = std::vector<std::function<void()>>;

  // Filled with NaN: what was never written must not be read.
  static void* take(int64_t bytes) {
    const auto whole = (static_cast<size_t>(bytes) + 255) / 256 * 256;
    void* const memory = std::aligned_alloc(256, whole);
    if (!memory) return nullptr;
    std::memset(memory, 0xff, whole);
    ++allocations;
    return memory;
  }
  static void give_back(void* memory) {
    --allocations;
    std::free(memory);
  }
  void copy(void* to, const void* from, int64_t bytes) {
    if (recording_) error_ = "a copy while launches are recorded";
    std::memcpy(to, from, static_cast<size_t>(bytes));
  }

  std::unique_ptr<Recording> recording_;
  std::string error_, told_;
};

using EmulatedDevice = Launches<EmulatedMachine>;

// Has one device, cuda:0.
inline const DeviceFactory& emulated_devices() {
  static const DeviceFactory factory{DeviceFactory::kVersion,
                                     [](int index, char* why, int64_t bytes) -> DeviceTable* {
                                       if (index == 0) return new EmulatedDevice();
                                       std::snprintf(why, static_cast<size_t>(bytes), "there is one device");
                                       return nullptr;
                                     }};
  return factory;
}

}  // namespace headrace::cuda
