#include "runrig/shm/handle.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <string>
#include <vector>

#include "fork_hooks.hpp"
#include "handle_internal.hpp"
#include "huge_pages.hpp"
#include "liveness.hpp"
#include "runrig/shm/shared_memory.hpp"
#include "runrig/sync/error.hpp"
#include "segment_file.hpp"

namespace runrig {
namespace detail {
namespace {

constexpr int required_seals = F_SEAL_SHRINK | F_SEAL_GROW;

// Guarded by ListenerLock, as are the calls.
std::vector<const std::function<void(SegmentId)>*>& listeners() {
  static auto* const all = new std::vector<const std::function<void(SegmentId)>*>;  // never destroyed, like the mutex
  return *all;
}

std::optional<SegmentFile> try_open(const char* path, bool is_link, const SegmentHandle& handle, Access access,
                                    std::string_view shown) {
  try {
    SegmentFile file = is_link ? open_through_link(path, access, "attach segment by handle", shown)
                               : open_segment_file(path, access, "attach segment by handle", shown);
    if (file.id == handle.id) return file;
  } catch (const Error& error) {
    // A process or descriptor that is gone is looked for elsewhere; so is a number that means something else by now.
    const auto code = error.code();
    if (code != std::errc::no_such_file_or_directory && code != std::errc::no_such_process &&
        code != std::errc::invalid_argument && code != std::errc::permission_denied) {
      throw;
    }
  }
  return std::nullopt;
}

}  // namespace

void check_sealed(int fd, std::string_view attempted, std::string_view name) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals >= 0 && (seals & required_seals) == required_seals) return;
  throw Error(std::errc::invalid_argument,
              std::string(attempted) + " (it is no memfd that is sealed against shrinking and growing)", name);
}

SegmentFile open_by_handle(const SegmentHandle& handle, Access access) {
  const std::string_view name = handle.name_view();
  const std::string shown = name.empty() ? "anonymous" : std::string(name);
  std::optional<SegmentFile> file;
  if (handle && handle.fd >= 0 && handle.pid > 0) {
    const std::string path = "/proc/" + std::to_string(handle.pid) + "/fd/" + std::to_string(handle.fd);
    file = try_open(path.c_str(), true, handle, access, shown);
  }
  if (!file && handle && is_segment_name(name)) {
    file = try_open(SegmentPath(name).c_str(), false, handle, access, shown);
  }
  if (!file) {
    throw Error(std::errc::no_such_file_or_directory,
                "attach segment by handle (process " + std::to_string(handle.pid) + " has it no longer open)", shown);
  }
  // Larger is fine: another program's segment may have grown. What is behind the promised size is not mapped.
  if (file->size_bytes < handle.size_bytes || handle.size_bytes == 0) {
    throw Error(std::errc::invalid_argument,
                "attach segment by handle (it has " + std::to_string(file->size_bytes) + " bytes, the handle says " +
                    std::to_string(handle.size_bytes) + ")",
                shown);
  }
  if (name.empty()) check_sealed(file->fd.get(), "attach segment by handle", shown);
  return std::move(*file);
}

SegmentHandle make_handle(int fd, SegmentId id, std::size_t size_bytes, std::string_view name) noexcept {
  SegmentHandle handle;
  handle.pid = ::getpid();
  handle.fd = fd;
  handle.id = id;
  handle.size_bytes = size_bytes;
  assert(name.size() < handle.name.size());
  std::copy(name.begin(), name.end(), handle.name.begin());
  return handle;
}

void notify_closed(SegmentId id) noexcept {
  const ListenerLock lock;
  // By index: a listener may close segments or make further listeners.
  for (std::size_t i = 0; i < listeners().size(); ++i) (*listeners()[i])(id);
}

}  // namespace detail

std::string_view SegmentHandle::name_view() const noexcept {
  const auto end = std::find(name.begin(), name.end(), '\0');
  return end == name.end() ? std::string_view()
                           : std::string_view(name.data(), static_cast<std::size_t>(end - name.begin()));
}

Mapping map_segment(const SegmentHandle& handle, Access access) {
  const auto file = detail::open_by_handle(handle, access);
  return Mapping::map(file.fd.get(), 0, handle.size_bytes, access, handle.name_view());
}

SegmentMapping SegmentMapping::attach(const SegmentHandle& handle, Access access) {
  auto file = detail::open_by_handle(handle, access);
  if (!handle.name_view().empty()) {
    detail::lock_for_use(file.fd.get(), "attach segment by handle", handle.name_view());
  }
  Mapping mapping = Mapping::map(file.fd.get(), 0, handle.size_bytes, access, handle.name_view());
  return SegmentMapping(std::move(file.fd), std::move(mapping), handle);
}

SegmentMapping& SegmentMapping::operator=(SegmentMapping&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = std::move(other.fd_);
    mapping_ = std::move(other.mapping_);
    handle_ = other.handle_;
  }
  return *this;
}

std::span<const std::byte> SegmentMapping::bytes() const {
  detail::check_open(mapping_, handle_.name_view());
  return mapping_.bytes();
}

std::span<std::byte> SegmentMapping::writable_bytes() const {
  detail::check_open(mapping_, handle_.name_view());
  return mapping_.writable_bytes();
}

std::size_t SegmentMapping::use_huge_pages() {
  detail::check_open(mapping_, handle_.name_view());
  return detail::use_huge_pages(fd_.get(), mapping_, 0, mapping_.size_bytes(), handle_.name_view());
}

SegmentHandle SegmentMapping::handle() const {
  detail::check_open(mapping_, handle_.name_view());
  return detail::make_handle(fd_.get(), handle_.id, handle_.size_bytes, handle_.name_view());
}

void SegmentMapping::close() noexcept {
  if (!mapping_) return;
  mapping_.reset();
  fd_.reset();
  detail::notify_closed(handle_.id);
}

SegmentCloseListener::SegmentCloseListener(std::function<void(SegmentId)> closed) : closed_(std::move(closed)) {
  if (!closed_) throw std::invalid_argument("a SegmentCloseListener without a function");
  const detail::ListenerLock lock;
  detail::listeners().push_back(&closed_);
}

SegmentCloseListener::~SegmentCloseListener() {
  const detail::ListenerLock lock;
  std::erase(detail::listeners(), &closed_);
}

}  // namespace runrig
