#include "runrig/shm/nd_array.hpp"

#include <unistd.h>

#include <array>
#include <cstring>
#include <stdexcept>

#include "runrig/shm/npy.hpp"
#include "runrig/sync/error.hpp"

namespace runrig {
namespace {

// Lies behind the data of arrays that we make, on a cache line, and ends the segment. Without it NumPy could not map an
// array without elements; with it, damage to the header is noticed.
struct ControlBlock {
  std::array<char, 8> magic;
  std::uint32_t layout_version;
  std::uint32_t dtype;
  std::uint64_t segment_bytes;
  std::uint64_t data_offset;
  std::uint64_t data_bytes;
  std::uint64_t header_hash;
  std::array<std::uint64_t, 2> reserved;
};
static_assert(sizeof(ControlBlock) == 64 && std::is_trivially_copyable_v<ControlBlock>,
              "separately built processes share it");
constexpr std::array<char, 8> control_magic{'R', 'R', 'A', 'R', 'R', 'A', 'Y', '\n'};
constexpr std::uint32_t control_layout = 1;
constexpr std::string_view attempt = "attach array";

// FNV-1a: against accidents, not against an adversary.
std::uint64_t hash_of(std::string_view bytes) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char each : bytes) hash = (hash ^ static_cast<unsigned char>(each)) * 1099511628211U;
  return hash;
}

struct Plan {
  std::string header;
  ControlBlock control;

  void fill(std::span<std::byte> segment) const {
    std::memcpy(segment.data(), header.data(), header.size());
    std::memcpy(segment.data() + segment.size() - sizeof control, &control, sizeof control);
  }
};

Plan plan_segment(DType dtype, const Shape& shape) {
  Plan plan{make_npy_header(dtype, shape), {}};
  const std::size_t data_bytes = shape.elements() * item_bytes(dtype);
  // At most PTRDIFF_MAX, so this cannot wrap.
  const std::size_t control_offset =
      (npy_header_bytes + data_bytes + sizeof(ControlBlock) - 1) / sizeof(ControlBlock) * sizeof(ControlBlock);
  const std::size_t segment_bytes = control_offset + sizeof(ControlBlock);
  if (segment_bytes > static_cast<std::size_t>(PTRDIFF_MAX)) {
    throw Error(std::errc::value_too_large, "make an array of shape", to_string(shape));
  }
  plan.control = {control_magic,
                  control_layout,
                  static_cast<std::uint32_t>(dtype),
                  segment_bytes,
                  npy_header_bytes,
                  data_bytes,
                  hash_of(plan.header),
                  {}};
  return plan;
}

bool read_exactly(int fd, void* target, std::size_t bytes, std::size_t offset, std::string_view name) {
  auto* const first = static_cast<char*>(target);
  for (std::size_t done = 0; done < bytes;) {
    const auto got = check_errno(
        retry_on_eintr([&] { return ::pread(fd, first + done, bytes - done, static_cast<off_t>(offset + done)); }),
        attempt, name);
    if (got == 0) return false;
    done += static_cast<std::size_t>(got);
  }
  return true;
}

// An array of our own making says twice what it is; the two disagree when somebody wrote over the header. Arrays of
// others have no control block: their last bytes are just data.
NpyHeader read_checked_header(int fd, std::size_t segment_bytes, std::string_view name) {
  ControlBlock control{};
  if (segment_bytes < npy_header_bytes + sizeof control ||
      !read_exactly(fd, &control, sizeof control, segment_bytes - sizeof control, name) ||
      control.magic != control_magic || control.segment_bytes != segment_bytes) {
    return read_npy_header(fd, segment_bytes, name);
  }
  if (control.layout_version != control_layout) {
    throw FormatError(
        attempt, name,
        "its layout is number " + std::to_string(control.layout_version) + ", ours " + std::to_string(control_layout));
  }
  // The same copy is compared and parsed, so that nobody can change it between.
  std::string bytes(npy_header_bytes, '\0');
  if (!read_exactly(fd, bytes.data(), bytes.size(), 0, name) || hash_of(bytes) != control.header_hash) {
    throw FormatError(attempt, name, "its header was overwritten");
  }
  const NpyHeader header = parse_npy_header(std::as_bytes(std::span(bytes)), segment_bytes, name);
  if (header.data_offset != control.data_offset || header.data_bytes != control.data_bytes ||
      static_cast<std::uint32_t>(header.dtype) != control.dtype) {
    throw FormatError(attempt, name, "its header contradicts the control block behind the data");
  }
  return header;
}

template <class Memory>
AnyArrayRef bind_in(const Memory& memory, const ArrayHandle& handle, Access access) {
  return access == Access::read_write ? bind_array(handle, memory.writable_bytes(), access)
                                      : bind_array(handle, memory.bytes());
}

ArrayHandle dense_handle(const SegmentHandle& segment, std::size_t byte_offset, DType dtype, const Shape& shape) {
  return {segment, byte_offset, shape, row_major_strides(shape), dtype};
}

}  // namespace

AnyArray AnyArray::make(DType dtype, const Shape& shape, const detail::MakeSegment& make_segment) {
  const Plan plan = plan_segment(dtype, shape);
  auto memory = make_segment(plan.control.segment_bytes, [&](auto segment) { plan.fill(segment); });
  const auto ref = bind_in(memory, dense_handle(memory.handle(), npy_header_bytes, dtype, shape), Access::read_write);
  return AnyArray(std::move(memory), ref);
}

AnyArray AnyArray::create(std::string_view name, DType dtype, const Shape& shape) {
  return make(dtype, shape,
              [&](std::size_t bytes, const auto& fill) { return SharedMemory::create(name, bytes, fill); });
}

AnyArray AnyArray::create(DType dtype, const Shape& shape) {
  return make(dtype, shape, [](std::size_t bytes, const auto& fill) { return SharedMemory::create(bytes, fill); });
}

AnyArray AnyArray::create_anonymous(DType dtype, const Shape& shape) {
  const Plan plan = plan_segment(dtype, shape);
  auto memory = AnonymousMemory::create("runrig-array", plan.control.segment_bytes);
  plan.fill(memory.writable_bytes());
  const auto ref = bind_in(memory, dense_handle(memory.handle(), npy_header_bytes, dtype, shape), Access::read_write);
  return AnyArray(std::move(memory), ref);
}

AnyArray AnyArray::attach(std::string_view name, Access access) {
  auto memory = SharedMemory::attach(name, access);
  // Read through the descriptor into memory of our own, checked there, and never looked at again. The size
  // is that of the mapping, so whatever the header says, no access leaves it.
  const NpyHeader header = read_checked_header(memory.fd(), memory.size_bytes(), name);
  ArrayHandle handle{memory.handle(), header.data_offset, header.shape, {}, header.dtype};
  handle.strides =
      header.order == MemoryOrder::row_major ? row_major_strides(header.shape) : column_major_strides(header.shape);
  const auto ref = bind_in(memory, handle, access);
  return AnyArray(std::move(memory), ref);
}

AnyArray AnyArray::attach(const ArrayHandle& handle, Access access) {
  if (!handle.segment) throw Error(std::errc::invalid_argument, attempt, "of an empty handle");
  auto memory = SegmentMapping::attach(handle.segment, access);
  auto ref = bind_in(memory, handle, access);
  ref.segment = memory.handle();  // ours may be passed on when the first one is gone
  return AnyArray(std::move(memory), ref);
}

AnyArray AnyArray::attach_plain(std::string_view name, DType dtype, const Shape& shape, std::size_t byte_offset,
                                Access access) {
  auto memory = SharedMemory::attach(name, access);
  const auto ref = bind_in(memory, dense_handle(memory.handle(), byte_offset, dtype, shape), access);
  return AnyArray(std::move(memory), ref);
}

ArrayHandle AnyArray::handle() const {
  ArrayHandle handle = ref_.handle();
  // Made anew: in a forked child it must lead to the child's descriptor, for the parent may be gone.
  handle.segment = std::visit([](const auto& memory) { return memory.handle(); }, memory_);
  return handle;
}

std::size_t AnyArray::use_huge_pages() {
  return std::visit([](auto& memory) { return memory.use_huge_pages(); }, memory_);
}

std::string AnyArray::name() const {
  const auto* const named = std::get_if<SharedMemory>(&memory_);
  return named != nullptr ? named->name() : std::string();
}

void AnyArray::unlink() {
  auto* const named = std::get_if<SharedMemory>(&memory_);
  if (named == nullptr) throw std::logic_error("unlink an array that has no name");
  named->unlink();
}

void AnyArray::persist() {
  auto* const named = std::get_if<SharedMemory>(&memory_);
  if (named == nullptr) throw std::logic_error("persist an array that has no name");
  named->persist();
}

}  // namespace runrig
