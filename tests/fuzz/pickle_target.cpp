#include <array>

#include "runrig/channel/pickle.hpp"
#include "runrig/channel/proxy_state.hpp"
#include "runrig/channel/transfer.hpp"
#include "runrig/sync/error.hpp"
#include "target.hpp"

// Any bytes as a pickle: a FormatError, or a whole object that is written in each protocol and reads back as itself.
namespace runrig {
namespace {

using pickle::Object;

// Some to be asked for, of lengths that arrays have.
pickle::Buffers some_buffers() {
  static const std::array<std::byte, 48> memory{};
  pickle::Buffers buffers;
  for (const std::size_t size : {std::size_t{48}, std::size_t{8}, std::size_t{0}, std::size_t{16}}) {
    buffers.push_back({std::span(memory).first(size)});
  }
  return buffers;
}

void check_written(const Object& object) {
  for (int protocol = 2; protocol <= 5; ++protocol) {
    fuzz::require(loads(dumps(object, protocol), pickle::unlimited) == object, "an object reads back as itself");
  }
  pickle::Buffers beside;
  const auto bytes = dumps(object, pickle::default_protocol, &beside);
  fuzz::require(loads(bytes, pickle::unlimited, beside) == object, "an object with buffers reads back as itself");
}

}  // namespace
}  // namespace runrig

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace runrig;
  static const pickle::Buffers buffers = some_buffers();
  pickle::Object object;
  try {
    object = pickle::load_first(fuzz::bytes_of(data, size), {}, buffers).first;
  } catch (const FormatError&) {
    return 0;
  }
  check_written(object);
  keep_proxies(object, [](const pickle::ProxyState& proxy) {
    (void)proxy;
    return std::make_shared<const pickle::ProxyKeeper>();
  });
  return 0;
}
