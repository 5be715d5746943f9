#include "preparation.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <limits>

#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

constexpr std::uint64_t magic = 0x3150'4552'5052'5252;  // "RRRPREP1"
constexpr std::size_t most_descriptors = 1 << 20;
constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;

class Writer {
 public:
  void number(std::uint64_t value) { raw(&value, sizeof value); }
  void bytes(const void* data, std::size_t size_bytes) {
    number(size_bytes);
    raw(data, size_bytes);
  }
  [[nodiscard]] std::vector<std::byte> take() { return std::move(out_); }

 private:
  void raw(const void* data, std::size_t size_bytes) {
    const auto* const first = static_cast<const std::byte*>(data);
    out_.insert(out_.end(), first, first + size_bytes);
  }
  std::vector<std::byte> out_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : left_(bytes) {}
  std::uint64_t number() {
    std::uint64_t value = 0;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  // At most `limit`.
  template <class Number>
  Number number_up_to(Number limit) {
    const std::uint64_t value = number();
    if (value > static_cast<std::uint64_t>(limit)) fail("a number is too large");
    return static_cast<Number>(value);
  }
  std::span<const std::byte> bytes() { return take(number()); }
  std::string text() {
    const auto found = bytes();
    return {reinterpret_cast<const char*>(found.data()), found.size()};
  }
  std::vector<std::byte> block() {
    const auto found = bytes();
    return {found.begin(), found.end()};
  }
  void expect_end() const {
    if (!left_.empty()) fail("there are bytes behind its end");
  }
  [[noreturn]] static void fail(std::string_view why) { throw FormatError("start as", "child", why); }

 private:
  std::span<const std::byte> take(std::uint64_t size_bytes) {
    if (size_bytes > left_.size()) fail("what it is told about itself ends early");
    const auto taken = left_.first(static_cast<std::size_t>(size_bytes));
    left_ = left_.subspan(taken.size());
    return taken;
  }
  std::span<const std::byte> left_;
};

}  // namespace

std::vector<std::byte> Preparation::encode() const {
  Writer out;
  out.number(magic);
  out.number(static_cast<std::uint64_t>(method));
  out.number(static_cast<std::uint64_t>(parent_pid));
  out.number(daemon ? 1 : 0);
  out.number(descriptors);
  out.number(static_cast<std::uint64_t>(log.level));
  out.number(log.to_stderr ? 1 : 0);
  out.number(environment ? 1 : 0);
  const std::string empty;
  for (const std::string* each : {&entry, &parent_name, &name, &numbers, environment ? &*environment : &empty}) {
    out.bytes(each->data(), each->size());
  }
  for (const auto* each : {&authkey, &managers, &payload}) out.bytes(each->data(), each->size());
  return out.take();
}

Preparation Preparation::decode(std::span<const std::byte> bytes) {
  Reader in(bytes);
  if (in.number() != magic) Reader::fail("what it is told about itself is something else");
  Preparation all;
  all.method = static_cast<StartMethod>(in.number_up_to(static_cast<int>(StartMethod::forkserver)));
  all.parent_pid = in.number_up_to(std::numeric_limits<pid_t>::max());
  all.daemon = in.number_up_to(1) == 1;
  all.descriptors = in.number_up_to(most_descriptors);
  all.log.level = static_cast<LogLevel>(in.number_up_to(std::numeric_limits<std::int32_t>::max()));
  all.log.to_stderr = in.number_up_to(1) == 1;
  const bool has_environment = in.number_up_to(1) == 1;
  all.entry = in.text();
  all.parent_name = in.text();
  all.name = in.text();
  all.numbers = in.text();
  std::string environment = in.text();
  if (has_environment) all.environment = std::move(environment);
  all.authkey = in.block();
  all.managers = in.block();
  all.payload = in.block();
  in.expect_end();
  return all;
}

UniqueFd make_preparation_file(std::span<const std::byte> bytes) {
  UniqueFd file(
      check_errno(::memfd_create("runrig-child", MFD_CLOEXEC | MFD_ALLOW_SEALING), "make", "memfd for child"));
  while (!bytes.empty()) {
    const auto written = check_errno(retry_on_eintr([&] { return ::write(file.get(), bytes.data(), bytes.size()); }),
                                     "write", "memfd for child");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  check_errno(::fcntl(file.get(), F_ADD_SEALS, seals), "seal", "memfd for child");
  return file;
}

std::optional<std::vector<std::byte>> read_preparation_file(int fd) {
  struct stat status {};
  if (::fcntl(fd, F_GET_SEALS) != seals || ::fstat(fd, &status) != 0) return std::nullopt;
  // Sealed: it has this size, and no other.
  std::vector<std::byte> bytes(static_cast<std::size_t>(status.st_size));
  for (std::size_t filled = 0; filled < bytes.size();) {
    const auto got = retry_on_eintr(
        [&] { return ::pread(fd, bytes.data() + filled, bytes.size() - filled, static_cast<off_t>(filled)); });
    if (got <= 0) return std::nullopt;
    filled += static_cast<std::size_t>(got);
  }
  std::uint64_t found = 0;
  if (bytes.size() < sizeof found) return std::nullopt;
  std::memcpy(&found, bytes.data(), sizeof found);
  if (found != magic) return std::nullopt;
  return bytes;
}

constinit const ChildEntry* ChildEntry::newest = nullptr;

ChildEntry::Function ChildEntry::find(std::string_view name) {
  for (const ChildEntry* each = newest; each != nullptr; each = each->next_) {
    if (name == each->name_) return each->function_;
  }
  throw FormatError("start as", name, "this program does not know what that is");
}

}  // namespace runrig::detail
