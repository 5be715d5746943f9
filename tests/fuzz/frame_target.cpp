#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "frame.hpp"
#include "runrig/channel/connection.hpp"
#include "runrig/sync/error.hpp"
#include "target.hpp"

// Any bytes from the other end of a connection. The first byte says how they are received.
namespace runrig {
namespace {

constexpr std::size_t most_bytes = std::size_t{1} << 20;

/// How many bytes the head at the beginning of `bytes` takes, and the length that it tells; 0 if it is cut off.
std::pair<std::size_t, std::uint64_t> read_head(std::span<const std::byte> bytes, std::size_t most_at_once) {
  detail::FrameHeadReader head;
  auto rest = bytes;
  while (!head.complete()) {
    const auto wanted = head.wanted();
    const std::size_t count = std::min({wanted.size(), rest.size(), most_at_once});
    if (count == 0) return {bytes.size() - rest.size(), 0};
    std::copy_n(rest.begin(), count, wanted.begin());
    rest = rest.subspan(count);
    head.took(count, "fuzzer");
  }
  return {bytes.size() - rest.size(), head.body_bytes()};
}

/// A head in pieces of any size says what it says in one piece.
void check_heads(std::span<const std::byte> bytes, std::size_t piece) {
  try {
    const auto whole = read_head(bytes, SIZE_MAX);
    fuzz::require(whole == read_head(bytes, 1 + piece), "a head in pieces is the same head");
    const detail::FrameHead written(whole.second);
    fuzz::require(read_head(written.bytes(), SIZE_MAX).second == whole.second, "a length that is written reads back");
  } catch (const FormatError&) {
  }
}

void receive(Connection& connection, unsigned how) {
  std::array<std::byte, 100> buffer{};
  for (;;) {
    try {
      switch (how % 4) {
        case 0:
          (void)connection.recv_bytes(most_bytes);
          break;
        case 1:
          (void)connection.recv_bytes_into(buffer, most_bytes);
          break;
        case 2:
          (void)connection.recv({.max_bytes = most_bytes});
          break;
        default:
          (void)connection.recv<std::vector<std::string>>({.max_bytes = most_bytes});
          break;
      }
    } catch (const FormatError&) {  // of one message: the next may be received, or the place is lost for good
    } catch (const BufferTooShort& error) {
      fuzz::require(error.message().size() > buffer.size(), "a message that is too long is there as a whole");
    } catch (const Error&) {  // EndOfStream, a message that is cut off or too long
      return;
    }
  }
}

}  // namespace
}  // namespace runrig

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace runrig;
  if (size == 0 || size > 65536) return 0;
  const auto bytes = fuzz::bytes_of(data + 1, size - 1);
  check_heads(bytes, data[0]);
  constexpr std::size_t least_pipe_bytes = 4096;  // of a pipe whose user has many
  const bool socket = (data[0] & 4U) != 0 || bytes.size() > least_pipe_bytes;
  Pipe pipe(socket ? Direction::duplex : Direction::receive);
  fuzz::require(::write(pipe.second.fileno(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()),
                "the kernel takes all of it");
  pipe.second.close();
  receive(pipe.first, data[0]);
  return 0;
}
