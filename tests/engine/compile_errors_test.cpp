// What cannot cross to another process does not compile, and the compiler's message says why in words.

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "support.hpp"

namespace runrig {
namespace {

struct Case {
  const char* call;    ///< what stands in a function of its own
  const char* reason;  ///< part of the message
};

// Compiles a program of one function for each call; all at once, as most of the time goes into the headers.
test::CommandResult compile(const std::vector<std::string>& calls) {
  const test::TemporaryDirectory directory;
  const std::string path = directory / "case.cpp";
  std::ofstream file(path);
  file << "#include <memory>\n#include <string>\n#include \"runrig/engine/call.hpp\"\n"
          "struct Plain { int a; void method() {} };\nusing runrig::detail::Call;\n";
  for (std::size_t i = 0; i < calls.size(); ++i) {
    file << "void call_" << i << "() {\n  int local = 0; (void)local;\n  " << calls[i] << "\n}\n";
  }
  file.close();
  std::vector<std::string> command = {RUNRIG_CXX, "-std=c++20", "-fsyntax-only"};
  std::string_view folders = RUNRIG_CXX_INCLUDES;
  while (!folders.empty()) {
    const auto end = std::min(folders.find(':'), folders.size());
    command.push_back("-I" + std::string(folders.substr(0, end)));
    folders.remove_prefix(std::min(end + 1, folders.size()));
  }
  command.push_back(path);
  return test::run_command(command);
}

TEST(CallRefusalTest, WhatMayCrossCompiles) {
  const auto result = compile({"(void)Call::make([](int x) { return x; }, 1);",
                               "(void)Call::make([local](std::string a) { return a.size() + local; }, \"text\");"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST(CallRefusalTest, WhatCannotCrossIsACompileErrorInWords) {
  const std::vector<Case> cases = {
      {"(void)Call::make([](int*) {}, &local);", "a raw pointer means nothing there. Send the value"},
      {"(void)Call::make([](std::unique_ptr<int>) {}, std::make_unique<int>(1));",
       "a smart pointer leads to memory of this process only"},
      {"std::string s; (void)Call::make([s] { return s.size(); });",
       "pass strings, vectors and handles as arguments of the call instead"},
      {"(void)Call::make(&Plain::method, 1);", "pass a lambda that calls the member"},
      {"(void)Call::make([] { return [] {}; });",
       "a function, lambda or std::function is not. It can be what is called there"},
      {"(void)Call::make([](std::string&) {}, std::string());", "take it by value or by const reference"}};
  std::vector<std::string> calls;
  for (const Case& each : cases) calls.emplace_back(each.call);
  const auto result = compile(calls);
  EXPECT_NE(result.exit_code, 0);
  for (const Case& each : cases) EXPECT_NE(result.err.find(each.reason), std::string::npos) << each.call << result.err;
}

}  // namespace
}  // namespace runrig
