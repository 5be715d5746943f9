#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace runrig {

/// Something failed: what was attempted, on which name, and why. what() reads "attach 'temps': No such file or
/// directory". To recover, compare code() with std::errc; what() is for people.
class Error : public std::system_error {
 public:
  Error(std::error_code code, std::string_view attempted, std::string_view name)
      : std::system_error(code, std::string(attempted) + " '" + std::string(name) + "'") {}
  Error(std::errc code, std::string_view attempted, std::string_view name)
      : Error(std::make_error_code(code), attempted, name) {}

 protected:
  /// For kinds whose reason is a sentence of their own rather than an errno: `whole` is all of what() says before
  /// the code's message.
  Error(std::error_code code, const std::string& whole) : std::system_error(code, whole) {}
};

/// The named kinds of error. They carry a reason of their own; what() is one line that a user can act on.
enum class ErrorKind {
  owner_died = 1,
  poisoned,
  worker_lost,
  slice_lost,
  remote_error,
  authentication,
  timeout,
  buffer_too_short,
  format,
  cancelled,
  broken_barrier,
  end_of_stream,
  empty,
  full,
};
/// The category of ErrorKind codes; its messages are the reasons ("the holder of the lock died", ...).
[[nodiscard]] const std::error_category& error_category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(ErrorKind kind) noexcept {
  return {static_cast<int>(kind), error_category()};
}

/// The process or thread that held a lock died; the data it guards may be half-changed. See Lock::recover().
class OwnerDied : public Error {
 public:
  explicit OwnerDied(std::string_view name) : Error(make_error_code(ErrorKind::owner_died), "lock", name) {}
};
/// The data that a lock guards was declared lost by whoever found its holder dead. Permanent.
class Poisoned : public Error {
 public:
  explicit Poisoned(std::string_view name) : Error(make_error_code(ErrorKind::poisoned), "lock", name) {}
};
/// A barrier is broken, so its parties will not meet: one of them died, waited too long, gave up, or its action threw.
/// what() says which.
class BrokenBarrier : public Error {
 public:
  explicit BrokenBarrier(std::string_view why)
      : Error(make_error_code(ErrorKind::broken_barrier), "wait at a barrier: " + std::string(why)) {}
};
/// A deadline passed. Only where a result is owed; a try_... function returns false instead.
class TimeoutError : public Error {
 public:
  TimeoutError(std::string_view attempted, std::string_view name)
      : Error(make_error_code(ErrorKind::timeout), attempted, name) {}
};
/// Bytes from outside (file, segment, pickle, frame) are not what they should be. `why` says what and where, and is
/// the reason: what() reads "attach 'temps': its magic is wrong".
class FormatError : public Error {
 public:
  FormatError(std::string_view attempted, std::string_view name, std::string_view why)
      : Error(make_error_code(ErrorKind::format), std::string(attempted)),
        line_(std::string(attempted) + " '" + std::string(name) + "': " + std::string(why)) {}
  [[nodiscard]] const char* what() const noexcept override { return line_.what(); }

 private:
  std::runtime_error line_;  // whose copy cannot throw, as an exception's must not
};
/// A buffer given by the caller cannot hold what was received.
class BufferTooShort : public Error {
 public:
  BufferTooShort(std::string_view attempted, std::string_view name, std::vector<std::byte> message = {})
      : Error(make_error_code(ErrorKind::buffer_too_short), attempted, name),
        message_(std::make_shared<const std::vector<std::byte>>(std::move(message))) {}
  /// All that was received; it is not lost.
  [[nodiscard]] const std::vector<std::byte>& message() const noexcept { return *message_; }

 private:
  std::shared_ptr<const std::vector<std::byte>> message_;  // whose copy cannot throw, as an exception's must not
};
/// There is no message and there will be none: the other end of a connection is closed, or its process gone, between
/// messages. Python's EOFError.
class EndOfStream : public Error {
 public:
  EndOfStream(std::string_view attempted, std::string_view name)
      : Error(make_error_code(ErrorKind::end_of_stream), attempted, name) {}
};
/// There is no message in a queue, or none came in time. Python's queue.Empty.
class Empty : public Error {
 public:
  explicit Empty(std::string_view name) : Error(make_error_code(ErrorKind::empty), "get from", name) {}
};
/// A queue has as many messages as it takes, and none was taken out in time. Python's queue.Full.
class Full : public Error {
 public:
  explicit Full(std::string_view name) : Error(make_error_code(ErrorKind::full), "put into", name) {}
};
/// The other side does not have the key, or none of the digests that we accept.
class AuthenticationError : public Error {
 public:
  AuthenticationError(std::string_view attempted, std::string_view name)
      : Error(make_error_code(ErrorKind::authentication), attempted, name) {}
};
/// A worker process died, and what it was asked for is not done. `what` says which work and how it ended.
class WorkerLost : public Error {
 public:
  WorkerLost(int pid, int signal, std::string_view what)
      : Error(make_error_code(ErrorKind::worker_lost), std::string(what)), pid_(pid), signal_(signal) {}
  /// The dead worker; 0 if it is not one worker (all of them died, or the process that makes them).
  [[nodiscard]] int pid() const noexcept { return pid_; }
  /// The signal that killed it; 0 if it left by itself, or that is not known.
  [[nodiscard]] int signal() const noexcept { return signal_; }

 private:
  int pid_;
  int signal_;
};
/// Elements that a lost worker may have half-written, and that nobody may write again for it.
class SliceLost : public Error {
 public:
  /// Half-open range of elements, in storage order.
  struct Range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    friend bool operator==(const Range&, const Range&) = default;
  };
  /// `why` tells what became of the worker.
  SliceLost(std::vector<Range> ranges, std::string_view why)
      : Error(make_error_code(ErrorKind::slice_lost), describe(ranges, why)), ranges_(std::move(ranges)) {}
  /// Sorted, without overlap. All other elements are as they should be.
  [[nodiscard]] const std::vector<Range>& ranges() const noexcept { return ranges_; }

 private:
  [[nodiscard]] static std::string describe(const std::vector<Range>& ranges, std::string_view why);
  std::vector<Range> ranges_;
};
/// Code that ran in another process threw there.
class RemoteError : public Error {
 public:
  /// `type` is the C++ name of what was thrown, `text` its what(), `worker` the pid, `where` e.g. "slice 7".
  RemoteError(std::string type, std::string text, int worker, std::string_view where)
      : Error(make_error_code(ErrorKind::remote_error),
              std::string(where) + " in worker " + std::to_string(worker) + ": " + type + ": " + text),
        type_(std::move(type)),
        text_(std::move(text)),
        worker_(worker) {}
  [[nodiscard]] const std::string& type() const noexcept { return type_; }
  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  [[nodiscard]] int worker() const noexcept { return worker_; }

 private:
  std::string type_;
  std::string text_;
  int worker_;
};
/// The caller, or a signal that it watches, asked for an end.
class Cancelled : public Error {
 public:
  explicit Cancelled(std::string_view attempted)
      : Error(make_error_code(ErrorKind::cancelled), std::string(attempted)) {}
};

/// For calls that return -1 and set errno: fstat, pread, fcntl. Returns `result` otherwise.
template <class Integer>
Integer check_errno(Integer result, std::string_view attempted, std::string_view name) {
  const int code = errno;  // read first: building a message may change it
  if (result == Integer{-1}) throw Error(std::error_code(code, std::system_category()), attempted, name);
  return result;
}
/// For calls that return the error number itself: posix_fallocate, pthread_*.
inline void check_code(int code, std::string_view attempted, std::string_view name) {
  if (code != 0) throw Error(std::error_code(code, std::system_category()), attempted, name);
}
/// Calls `call` again while it fails with EINTR; returns its last result. For calls that may simply be repeated
/// (open, read, pread, waitid), never for close.
template <class Call>
auto retry_on_eintr(Call&& call) {
  for (;;) {
    const auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

}  // namespace runrig

template <>
struct std::is_error_code_enum<runrig::ErrorKind> : std::true_type {};
