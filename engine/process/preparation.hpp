#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "process_state.hpp"
#include "runrig/engine/log.hpp"
#include "runrig/engine/start_method.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::detail {

/// All that a process which is not a copy of its parent is told about itself. Only a parent tells its child, which runs
/// the same program; what is read is checked nevertheless, as everything is.
struct Preparation {
  std::string entry;  ///< name of the ChildEntry to be run; empty: it is a fork server
  StartMethod method = StartMethod::spawn;
  pid_t parent_pid = 0;
  std::string parent_name;
  std::string name;
  std::string numbers;
  AuthKey authkey;
  std::vector<std::byte> managers;  ///< see KnownManagers
  bool daemon = false;
  std::optional<std::string> environment;  ///< "A=1\0B=2\0", where it is not inherited
  LogSettings log;
  std::vector<std::byte> payload;  ///< for the entry

  std::size_t descriptors = 0;  ///< how many it gets; filled in by who passes them

  [[nodiscard]] std::vector<std::byte> encode() const;
  /// Throws FormatError.
  [[nodiscard]] static Preparation decode(std::span<const std::byte> bytes);
};

/// The bytes in a sealed memfd: whatever their number, writing never waits for the reader, and whoever gets the
/// descriptor can tell that it is ours.
[[nodiscard]] UniqueFd make_preparation_file(std::span<const std::byte> bytes);
/// None if `fd` is nothing of the kind.
[[nodiscard]] std::optional<std::vector<std::byte>> read_preparation_file(int fd);

/// What a process that was made for it gets.
struct ChildInput {
  std::vector<std::byte> payload;
  std::vector<UniqueFd> descriptors;
};

/// A function that children made by spawn and forkserver can be told to run, under a name that parent and child agree
/// on. For namespace scope.
class ChildEntry {
 public:
  using Function = void (*)(ChildInput&& input);
  ChildEntry(const char* name, Function function) noexcept : name_(name), function_(function), next_(newest) {
    newest = this;
  }
  ChildEntry(const ChildEntry&) = delete;
  ChildEntry& operator=(const ChildEntry&) = delete;

  [[nodiscard]] const char* name() const noexcept { return name_; }
  /// Throws FormatError if this program has none of that name.
  [[nodiscard]] static Function find(std::string_view name);

 private:
  static constinit const ChildEntry* newest;
  const char* name_;
  Function function_;
  const ChildEntry* next_;
};

}  // namespace runrig::detail
