#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "../process/process_support.hpp"
#include "runrig/channel/python_error.hpp"
#include "runrig/engine/manager.hpp"
#include "runrig/engine/proxies.hpp"
#include "support.hpp"

namespace runrig::test {

[[nodiscard]] inline Authentication manager_key(std::string_view key = "manager's key") {
  const auto bytes = std::as_bytes(std::span(key));
  return {.key = {bytes.begin(), bytes.end()}, .allow_md5 = true, .time_limit = std::chrono::seconds(30)};
}

/// A server in a thread of this process, for whoever connects.
class Serving {
 public:
  explicit Serving(ManagedTypes types = ManagedTypes::standard(), std::optional<Address> address = std::nullopt)
      : server_(std::move(types), {.address = std::move(address), .authentication = manager_key()}),
        thread_([this] { server_.serve_forever(); }) {}
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;
  ~Serving() {
    server_.stop();
    thread_.join();
  }
  [[nodiscard]] ManagerServer& server() noexcept { return server_; }
  [[nodiscard]] BaseManager client() const {
    BaseManager manager({.address = server_.address(), .authentication = manager_key()});
    manager.connect();
    return manager;
  }

 private:
  ManagerServer server_;
  std::thread thread_;
};

/// Python's name of what `call` throws; what() of anything that has none; empty for nothing.
template <class Call>
[[nodiscard]] std::string python_error(const Call& call) {
  try {
    call();
  } catch (const pickle::PythonError& error) {
    return std::string(error.type());
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

}  // namespace runrig::test
