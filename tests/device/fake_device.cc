#include "tests/device/fake_device.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_copy_from_ops.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iterator>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "common/mutex.h"
#include "tests/device/fake_memory.h"

namespace grpo::fake {
namespace {

constexpr auto kType = c10::DeviceType::PrivateUse1;

std::atomic<int64_t> operators = 0, copies_to_device = 0, copies_to_host = 0, waits = 0, drains = 0;
// Operators that the thread is computing. What it copies for them is not counted, nor waited for.
thread_local int computing = 0;

// A copy between pinned memory and a device that nobody has waited for.
struct PendingCopy {
  int64_t number;
  bool to_host;
  // The pinned side, dense.
  at::Tensor host;
  // Its numbers as they were when the copy was given to the device.
  at::Tensor numbers;
};

// Copies in the order in which they were given to any device.
class CopyQueue {
 public:
  void Add(bool to_host, const at::Tensor& host, const at::Tensor& numbers) {
    MutexLock lock(&mutex_);
    pending_.push_back({.number = ++last_number_, .to_host = to_host, .host = host, .numbers = numbers});
  }
  int64_t last_number() {
    MutexLock lock(&mutex_);
    return last_number_;
  }
  // Lets them arrive up to this one. Throws when the host wrote into what it was still sending.
  void Land(int64_t number) {
    std::deque<PendingCopy> landed;
    {
      MutexLock lock(&mutex_);
      auto end = pending_.begin();
      while (end != pending_.end() && end->number <= number) ++end;
      std::move(pending_.begin(), end, std::back_inserter(landed));
      pending_.erase(pending_.begin(), end);
    }
    for (const PendingCopy& copy : landed) {
      if (copy.to_host) {
        std::memcpy(copy.host.mutable_data_ptr(), copy.numbers.const_data_ptr(), copy.numbers.nbytes());
      } else {
        TORCH_CHECK(std::memcmp(copy.host.const_data_ptr(), copy.numbers.const_data_ptr(), copy.numbers.nbytes()) == 0,
                    "fake device: the host wrote into pinned memory of ", copy.numbers.nbytes(),
                    " bytes while it was being copied to the device: wait for the copy first");
      }
    }
  }

 private:
  Mutex mutex_;
  int64_t last_number_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<PendingCopy> pending_ ABSL_GUARDED_BY(mutex_);
};

CopyQueue& Queue() {
  static CopyQueue& queue = *new CopyQueue;
  return queue;
}

// The host waits until the device has done all that it was given.
void Drain() {
  if (computing > 0) return;
  Queue().Land(Queue().last_number());
  ++waits;
  ++drains;
}

// What a device had been given when the event was recorded.
struct Event {
  int64_t last_copy = 0, num_operators = 0;
  bool done = false;
};

// One stream that matters: they all do their work in the order in which it was given.
thread_local c10::StreamId current_stream = 0;

class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    setDevice(device);
    return before;
  }
  c10::Device getDevice() const override { return Device(CurrentDevice()); }
  void setDevice(c10::Device device) const override {
    TORCH_CHECK(device.index() < kNumDevices, "there is no ", device.str());
    uncheckedSetDevice(device);
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.index() >= 0) SetCurrentDevice(device.index());
  }
  c10::DeviceIndex deviceCount() const noexcept override { return kNumDevices; }

  c10::Stream getStream(c10::Device device) const override { return StreamOf(device, current_stream); }
  c10::Stream getDefaultStream(c10::Device device) const override { return StreamOf(device, 0); }
  c10::Stream getNewStream(c10::Device device, int) const override {
    static std::atomic<c10::StreamId> last = 0;
    return StreamOf(device, ++last);
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override { return getNewStream(device, 0); }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    const c10::Stream before = StreamOf(stream.device(), current_stream);
    current_stream = stream.id();
    return before;
  }
  bool queryStream(const c10::Stream&) const override {
    Queue().Land(Queue().last_number());
    return true;
  }
  void synchronizeStream(const c10::Stream&) const override { Drain(); }
  void synchronizeDevice(const c10::DeviceIndex) const override { Drain(); }

  void record(void** event, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {
    if (*event == nullptr) *event = new Event;
    *static_cast<Event*>(*event) = {.last_copy = Queue().last_number(), .num_operators = operators};
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override { delete static_cast<Event*>(event); }
  void block(void*, const c10::Stream&) const override {}
  // Whoever asks again and again comes to an end.
  bool queryEvent(void* event) const override {
    Land(static_cast<Event*>(event));
    return true;
  }
  void synchronizeEvent(void* event_in) const override {
    Event* const event = static_cast<Event*>(event_in);
    if (!event->done) {
      ++waits;
      if (operators == event->num_operators) ++drains;
    }
    Land(event);
  }

 private:
  static c10::Stream StreamOf(c10::Device device, c10::StreamId id) {
    return c10::Stream(c10::Stream::UNSAFE, Device(device.index() < 0 ? CurrentDevice() : device.index()), id);
  }
  static void Land(Event* event) {
    event->done = true;
    Queue().Land(event->last_copy);
  }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);
REGISTER_ALLOCATOR(c10::DeviceType::PrivateUse1, &DeviceMemory());

class Hooks final : public at::PrivateUse1HooksInterface {
 public:
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return kNumDevices; }
  c10::DeviceIndex getCurrentDevice() const override { return CurrentDevice(); }
  void setCurrentDevice(c10::DeviceIndex index) const override { guard_.setDevice(Device(index)); }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex index) const override {
    return guard_.exchangeDevice(Device(index)).index();
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex index) const override {
    return index < 0 ? CurrentDevice() : exchangeDevice(index);
  }
  bool isPinnedPtr(const void* data) const override { return IsPinned(data); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &PinnedMemory(); }
  at::Device getDeviceFromPtr(void*) const override { return Device(CurrentDevice()); }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t num_bytes) const override {
    TORCH_CHECK(storage.nbytes() == 0, "the fake device grows no tensor that holds numbers");
    const OnDevice on_device(storage.device().index());
    storage.set_data_ptr_noswap(DeviceMemory().allocate(num_bytes));
    storage.set_nbytes(num_bytes);
  }

 private:
  const Guard guard_{};
};

// At the process's start.
const bool registered = [] {
  const char* const wanted = std::getenv("GRPO_TEST_DEVICE");
  if (wanted != nullptr && std::string(wanted) != "fake") return false;
  c10::register_privateuse1_backend("fake");
  at::RegisterPrivateUse1HooksInterface(new Hooks);
  ReportHostAccess();
  return true;
}();

at::Tensor Empty(c10::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                 std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  const OnDevice on_device(device ? device->index() : -1);
  return at::detail::empty_generic(size, &DeviceMemory(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   c10::dtype_or_default(dtype), format);
}

at::Tensor EmptyStrided(c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                        std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
  const OnDevice on_device(device ? device->index() : -1);
  return at::detail::empty_strided_generic(
      size, stride, &DeviceMemory(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), c10::dtype_or_default(dtype));
}

at::Tensor EmptyOnHost(const at::Tensor& like) {
  return at::empty(like.sizes(), like.options().device(c10::kCPU).memory_format(c10::MemoryFormat::Contiguous));
}

// A copy that arrives when somebody waits for it. What is on the device is there at once: whatever comes after it in
// the stream sees it.
void CopyLater(const at::Tensor& from, const at::Tensor& to) {
  const at::Tensor& host = to.is_cpu() ? to : from;
  const at::Tensor numbers = EmptyOnHost(host);
  CopyNow(from, numbers);
  if (to.is_cpu()) {
    std::memset(to.mutable_data_ptr(), 0x7f, to.nbytes());
  } else {
    CopyNow(numbers, to);
  }
  Queue().Add(to.is_cpu(), host, numbers);
}

at::Tensor CopyFrom(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  if (from.numel() == 0) return to;
  if (computing > 0) {
    CopyNow(from, to);
    return to;
  }
  if (!from.is_cpu() && !to.is_cpu()) {
    ++operators;
    CopyNow(from, to);
    return to;
  }
  ++(to.is_cpu() ? copies_to_host : copies_to_device);
  const at::Tensor& host = to.is_cpu() ? to : from;
  if (non_blocking && host.is_contiguous() && from.sizes() == to.sizes() && IsPinned(host.const_data_ptr())) {
    CopyLater(from, to);
    return to;
  }
  Drain();
  CopyNow(from, to);
  return to;
}

at::Tensor CopyFromAndResize(const at::Tensor& from, const at::Tensor& to) {
  at::native::resize_(to, from.sizes(), std::nullopt);
  if (from.numel() > 0) CopyNow(from, to);
  return to;
}

c10::Scalar LocalScalarDense(const at::Tensor& tensor) {
  Drain();
  const at::Tensor host = EmptyOnHost(tensor);
  CopyNow(tensor, host);
  return host.item();
}

// A tensor of the host among those of a device is an error, as it is in CUDA's kernels; a number (no dimensions) may
// come along, except in a list.
class SameDevice {
 public:
  explicit SameDevice(const c10::OperatorHandle& op) : op_(op) {}
  void Look(const c10::IValue& argument) {
    if (argument.isTensor() && !IsNumber(argument.toTensor())) LookAt(argument.toTensor());
    if (argument.isTensorList()) {
      for (const at::Tensor& tensor : argument.toTensorVector()) LookAt(tensor);
    }
    if (argument.isOptionalTensorList()) {
      for (const std::optional<at::Tensor>& tensor : argument.toOptionalTensorVector()) {
        if (!tensor || !tensor->defined()) continue;
        LookAt(*tensor);
        if (tensor->scalar_type() == at::kBool) picks_by_mask_ = true;
      }
    }
  }
  // The tensors that this operator was given to pick by are not of numbers but of yes and no.
  bool picks_by_mask() const { return picks_by_mask_; }

 private:
  static bool IsNumber(const at::Tensor& tensor) { return tensor.defined() && tensor.is_cpu() && tensor.dim() == 0; }

  void LookAt(const at::Tensor& tensor) {
    if (!tensor.defined()) return;
    if (!device_) device_ = tensor.device();
    TORCH_CHECK(tensor.device() == *device_, "Expected all tensors to be on the same device, but ", op_.schema().name(),
                " got one on ", device_->str(), " and one on ", tensor.device().str());
  }

  const c10::OperatorHandle& op_;
  // Of the first.
  std::optional<at::Device> device_;
  bool picks_by_mask_ = false;
};

// Whether the host learns numbers from the operator, or a shape that depends on them.
bool WaitsForNumbers(const c10::FunctionSchema& schema, bool picks_by_mask) {
  static const auto& names = *new absl::flat_hash_set<std::string>(
      {"aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::unique_dim", "aten::unique_consecutive",
       "aten::bincount", "aten::repeat_interleave"});
  for (const c10::Argument& result : schema.returns()) {
    const c10::TypeKind kind = result.type()->kind();
    if (kind != c10::TypeKind::TensorType && kind != c10::TypeKind::ListType) return true;
  }
  return names.contains(schema.name()) || (picks_by_mask && schema.name() == "aten::_index_put_impl_");
}

void ComputeOnHost(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  SameDevice devices(op);
  for (const c10::IValue& argument : torch::jit::last(*stack, op.schema().arguments().size())) devices.Look(argument);
  if (WaitsForNumbers(op.schema(), devices.picks_by_mask())) Drain();
  const Computing computing_it(op.schema().name().c_str());
  // A view that was a copy would lose what is written into it.
  at::native::cpu_fallback(op, stack, /*error_on_views=*/true);
}

// Attention by plain arithmetic.
int64_t ChooseAttention(const at::Tensor&, const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                        double, bool, std::optional<double>, bool) {
  return 0;
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&ComputeOnHost>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &Empty);
  library.impl("empty_strided", &EmptyStrided);
  library.impl("_copy_from", &CopyFrom);
  library.impl("_copy_from_and_resize", &CopyFromAndResize);
  library.impl("_local_scalar_dense", &LocalScalarDense);
  library.impl("as_strided", &at::native::as_strided_tensorimpl);
  library.impl("view", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef)>(&at::native::view));
  library.impl("_reshape_alias", &at::native::_reshape_alias);
  library.impl("resize_", &at::native::resize_);
  library.impl("_fused_sdp_choice", &ChooseAttention);
}

}  // namespace

c10::Device Device(int index) {
  return {kType, static_cast<c10::DeviceIndex>(index)};
}

Counters CountersNow() {
  return {.operators = operators,
          .copies_to_device = copies_to_device,
          .copies_to_host = copies_to_host,
          .waits = waits,
          .drains = drains};
}

Counters operator-(const Counters& after, const Counters& before) {
  return {.operators = after.operators - before.operators,
          .copies_to_device = after.copies_to_device - before.copies_to_device,
          .copies_to_host = after.copies_to_host - before.copies_to_host,
          .waits = after.waits - before.waits,
          .drains = after.drains - before.drains};
}

Computing::Computing(const char* operator_name) : writer_before_(ExchangeWriter(operator_name)) {
  ++operators;
  ++computing;
}

Computing::~Computing() {
  --computing;
  ExchangeWriter(writer_before_);
}

}  // namespace grpo::fake
