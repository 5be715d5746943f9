#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <set>
#include <string_view>

#include "runrig/sync/killpoint.hpp"

namespace runrig::test {

/// The kill points of this program whose names begin with one of `prefixes`. Who goes through them all kills at each,
/// as tests/project/killpoints_test.cpp takes for granted.
inline std::set<std::string_view> killpoints_of(std::initializer_list<std::string_view> prefixes) {
  std::set<std::string_view> found;
  for (const auto name : killpoint::names()) {
    for (const auto prefix : prefixes) {
      if (name.starts_with(prefix)) found.insert(name);
    }
  }
  return found;
}

}  // namespace runrig::test

#define RUNRIG_NEED_KILLPOINTS() \
  if (!::runrig::killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points"
