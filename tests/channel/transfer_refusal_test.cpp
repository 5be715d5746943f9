#include <gtest/gtest.h>

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "support.hpp"

// What cannot travel does not compile, and the compiler says why: it is called here as for the test itself.
namespace runrig {
namespace {

test::CommandResult compile(const std::string& program) {
  std::vector<std::string> command{RUNRIG_CXX, "-std=c++20", "-fsyntax-only", "-x", "c++"};
  std::istringstream folders(RUNRIG_INCLUDES);
  for (std::string each; std::getline(folders, each, ':');) command.push_back("-I" + each);
  command.emplace_back("-");
  return test::run_command(command, R"(
#include <functional>
#include <memory>
#include "runrig/channel/transfer.hpp"
using namespace runrig::pickle;
using Out = std::vector<std::byte>;
)" + program);
}

/// A piece of program that must not compile, and what the compiler must say.
struct Refusal {
  std::string program;
  std::string words;
};

const std::map<std::string, Refusal>& refusals() {
  static const std::map<std::string, Refusal> all{
      {"pointer", {"void f(Out& out, int* p) { encode(out, p); }", "a raw pointer means nothing there"}},
      {"received_pointer",
       {"auto f(std::span<const std::byte> in) { return decode<long*>(in); }", "a raw pointer means nothing there"}},
      {"argument", {"void f(Out& out, short* p) { encode_tuple(out, 1, p); }", "a raw pointer means nothing there"}},
      {"pointer_in_struct",
       {"struct Node { int value; Node* next; }; void f(Out& out, Node n) { encode(out, n); }",
        "a raw pointer means nothing there"}},
      {"reference_in_struct",
       {"struct View { int& value; }; void f(Out& out, View v) { encode(out, v); }", "const or a reference"}},
      {"string_view_in_struct",
       {"struct Name { std::string_view text; }; void f(Out& out, Name n) { encode(out, n); }",
        "does not own its value"}},
      {"smart_pointer",
       {"void f(Out& out, const std::unique_ptr<int>& p) { encode(out, p); }",
        "a smart pointer leads to memory of this process only"}},
      {"function",
       {"void f(Out& out, const std::function<void()>& g) { encode(out, g); }",
        "a function, lambda or std::function is not"}},
      {"function_pointer", {"void f(Out& out) { encode(out, &f); }", "a function, lambda or std::function is not"}},
      {"lambda",
       {"void f(Out& out, int i) { encode(out, [i] { return i; }); }", "a function, lambda or std::function is not"}},
      {"private_members",
       {"class Secret { int value_ = 1; }; void f(Out& out, Secret s) { encode(out, s); }", "has private members"}},
      {"pointers_in_vector", {"void f(Out& out, std::vector<int*> v) { encode(out, v); }", "or holds what is not"}},
      {"too_many_fields",
       {"struct Many { int a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, c0, c1, c2,"
        " c3, c4, c5, c6, c7, c8, c9, d0, d1, d2; }; void f(Out& out, Many m) { encode(out, m); }",
        "more than 32 fields"}},
      {"base_class",
       {"struct Base { int a; }; struct Derived : Base { int b; }; void f(Out& out, Derived d) { encode(out, d); }",
        "a base class"}},
      {"long_double", {"void f(Out& out) { encode(out, 1.0L); }", "Send a double"}},
      {"bytes_of_a_string",
       {"struct Pair { std::string a; int b; };"
        "}} template <> inline constexpr bool runrig::transfers_as_bytes<cases::bytes_of_a_string::Pair> = true;"
        "namespace cases { namespace bytes_of_a_string { void f(Out& out, Pair p) { encode(out, p); }",
        "transfers_as_bytes is for trivially copyable types"}},
  };
  return all;
}

/// The errors of each piece: one run of the compiler for all, in which each piece is a file of its own name. (A type is
/// complained about once, so each piece has one of its own.)
std::map<std::string, std::string> errors_by_piece() {
  std::string program;
  for (const auto& [label, each] : refusals()) {
    program += "\n#line 1 \"piece_" + label + "\"\nnamespace cases { namespace " + label + " { " + each.program + " }}";
  }
  const auto result = compile(program);
  EXPECT_NE(result.exit_code, 0);
  std::map<std::string, std::string> errors;
  std::string piece;
  std::istringstream lines(result.err);
  for (std::string line; std::getline(lines, line);) {
    // Before an error comes where in the program its template is used.
    if (line.starts_with("piece_")) piece = line.substr(6, line.find(':') - 6);
    if (line.find("error: ") != std::string::npos) errors[piece] += line + "\n";
  }
  return errors;
}

TEST(TransferRefusalTest, WhatCannotTravelIsACompileTimeErrorThatSaysWhy) {
  const auto errors = errors_by_piece();
  for (const auto& [label, each] : refusals()) {
    ASSERT_EQ(errors.count(label), 1U) << label << " compiles";
    const std::string& text = errors.at(label);
    EXPECT_NE(text.find("what is sent to another process must be Transferable: "), std::string::npos) << label << text;
    EXPECT_NE(text.find(each.words), std::string::npos) << label << '\n' << text;
  }
}

TEST(TransferRefusalTest, WhatCanTravelCompiles) {
  const auto result = compile(R"(
struct Part { int number; std::string name; double more[2]; };
void f(Out& out, Part part) {
  encode_tuple(out, part, std::vector<Part>{part}, "text", 1);
  (void)decode<Part>(out);
}
)");
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

}  // namespace
}  // namespace runrig
