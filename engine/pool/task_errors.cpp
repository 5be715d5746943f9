#include "task_errors.hpp"

#include "runrig/engine/remote_exception.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

void encode_exception(std::vector<std::byte>& out, const std::exception_ptr& exception) noexcept {
  out.clear();
  try {
    encode(out, capture(exception));
  } catch (...) {
    // No memory for the description, which is the likeliest reason for the failure as well.
    out.clear();
  }
}

}  // namespace

void encode_current_exception(std::vector<std::byte>& out) noexcept { encode_exception(out, std::current_exception()); }

void encode_error_text(std::vector<std::byte>& out, const std::string& text) noexcept {
  encode_exception(out, std::make_exception_ptr(std::length_error(text)));
}

std::exception_ptr task_exception(std::span<const std::byte> bytes, StartMethod method, std::uint32_t worker,
                                  pid_t pid) noexcept {
  try {
    const std::string name = worker_name(method, worker);
    if (bytes.empty()) {
      return std::make_exception_ptr(RemoteError("exception", "no memory was left to say which", pid, name));
    }
    return to_exception(decode_exception(bytes), name, pid);
  } catch (...) {
    return std::current_exception();
  }
}

std::string worker_name(StartMethod method, std::uint32_t worker) {
  const char* const prefix = method == StartMethod::fork    ? "Fork"
                             : method == StartMethod::spawn ? "Spawn"
                                                            : "ForkServer";
  return std::string(prefix) + "PoolWorker-" + std::to_string(worker + 1);
}

}  // namespace runrig::detail
