#pragma once

#include <gtest/gtest.h>

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "runrig/channel/listener.hpp"
#include "support.hpp"

namespace runrig::test {

[[nodiscard]] inline Authentication with_key(std::string_view key) {
  const auto bytes = std::as_bytes(std::span(key));
  return {.key = {bytes.begin(), bytes.end()}};
}

/// What holds for listeners of each family of addresses.
class AtEachFamily : public ::testing::TestWithParam<Address::Family> {
 protected:
  /// A free one.
  [[nodiscard]] Address address() const {
    switch (GetParam()) {
      case Address::Family::inet:
        return {"127.0.0.1", 0};
      case Address::Family::abstract_socket:
        return Address::abstract(name_);
      case Address::Family::unix_socket:
        break;
    }
    return (folder_ / "socket").string();
  }

 private:
  TemporaryDirectory folder_;
  std::string name_ = unique_segment_name();
};

[[nodiscard]] inline std::string family_name(const ::testing::TestParamInfo<Address::Family>& family) {
  constexpr std::array names{"Inet", "Path", "Abstract"};
  return names[static_cast<std::size_t>(family.param)];
}
#define RUNRIG_FOR_EACH_FAMILY(suite)                                                                                 \
  INSTANTIATE_TEST_SUITE_P(Families, suite,                                                                           \
                           ::testing::Values(::runrig::Address::Family::inet, ::runrig::Address::Family::unix_socket, \
                                             ::runrig::Address::Family::abstract_socket),                             \
                           ::runrig::test::family_name)

}  // namespace runrig::test
