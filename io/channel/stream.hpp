#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "frame.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/unique_fd.hpp"

/// Bytes through sockets and pipes: whole, or an error that says what was missing.
namespace runrig::detail {

struct Stream {
  enum class Kind : std::uint8_t { pipe, socket, local_socket };
  UniqueFd fd;
  Kind kind = Kind::pipe;
  std::string name;  ///< for errors
};
/// Throws Error invalid_argument if it is no pipe (nor FIFO) and no stream socket.
[[nodiscard]] Stream make_stream(UniqueFd fd, std::string name);

/// Sends all of `head` and `body`, and with their first byte the descriptors, which a local socket alone can take.
/// Whatever ends it early may have sent a part. Throws Error: broken_pipe and others; TimeoutError. No SIGPIPE.
void send_whole(const Stream& stream, std::span<const std::byte> head, std::span<const std::byte> body,
                std::span<const int> descriptors = {}, Deadline deadline = {});

/// What comes beside the bytes of a local socket.
struct CarriedDescriptors {
  std::vector<UniqueFd> descriptors;
  bool lost = false;  ///< some, because this process has no more room for them
};
/// At least one byte, at most `buffer` has room for; 0 at the end of the stream, -1 if nothing came in time. Throws
/// Error. Descriptors are dropped unless there is a place for them.
[[nodiscard]] std::ptrdiff_t receive_some(const Stream& stream, std::span<std::byte> buffer, Deadline deadline = {},
                                          CarriedDescriptors* carried = nullptr);
/// The length of the next message. Throws EndOfStream if there is none, Error connection_aborted if the stream ends in
/// the head, FormatError; TimeoutError. Sets `begun` once a byte was taken.
[[nodiscard]] std::uint64_t receive_head(const Stream& stream, bool& begun, Deadline deadline = {},
                                         CarriedDescriptors* carried = nullptr);
/// Fills `rest`, the end of a message of `body_bytes`. Throws Error connection_aborted if the stream ends before;
/// TimeoutError.
void receive_rest(const Stream& stream, std::span<std::byte> rest, std::uint64_t body_bytes, Deadline deadline = {});

/// A message's body, into a vector or the like. Memory is taken as bytes arrive: at most twice as much as have come, so
/// that a length alone, which anyone can write, costs nothing.
template <class Buffer>
void receive_body(const Stream& stream, Buffer& out, std::uint64_t body_bytes, Deadline deadline = {}) {
  constexpr std::size_t first_piece = std::size_t{1} << 20;
  std::size_t filled = 0;
  out.resize(static_cast<std::size_t>(body_bytes < first_piece ? body_bytes : first_piece));
  for (;;) {
    receive_rest(stream, std::span(out.data() + filled, out.size() - filled), body_bytes, deadline);
    filled = out.size();
    if (filled == body_bytes) return;
    out.resize(static_cast<std::size_t>(body_bytes - filled < filled ? body_bytes : 2 * filled));
  }
}

/// Bytes that are not zeroed first, and that grow by moving pages instead of copying them.
class ByteBuffer {
 public:
  ByteBuffer() noexcept = default;
  [[nodiscard]] std::byte* data() const noexcept { return bytes_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_bytes_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_bytes_; }
  /// What was there stays; what is new is anything. Throws std::bad_alloc.
  void resize(std::size_t size_bytes);
  void release() noexcept;

 private:
  struct Free {
    void operator()(std::byte* bytes) const noexcept;
  };
  std::unique_ptr<std::byte, Free> bytes_;
  std::size_t size_bytes_ = 0;
  std::size_t capacity_bytes_ = 0;
};

}  // namespace runrig::detail
