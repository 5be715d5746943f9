#include "runrig/engine/code.hpp"

#include <dlfcn.h>
#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "call_program.hpp"
#include "process/foreign_code.hpp"
#include "runrig/engine/call.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using detail::CodeKind;
using detail::CodeRef;

using PlusOne = decltype([](int x) { return x + 1; });
int minus_one(int x) { return x - 1; }

const detail::Trampoline& some_trampoline() { return detail::trampoline_for<PlusOne, int>(); }

TEST(CodeTest, WhatIsMentionedIsFoundByItsName) {
  const detail::Trampoline& trampoline = some_trampoline();
  const CodeRef code = trampoline.code();
  EXPECT_TRUE(static_cast<bool>(code));
  EXPECT_EQ(&detail::resolve(code), &trampoline);
  EXPECT_EQ(trampoline.code(), code) << "the second time it is remembered";
}

TEST(CodeTest, OtherNamesAreRefused) {
  const CodeRef code = some_trampoline().code();
  CodeRef off_by_eight = code;
  off_by_eight.offset += 8;
  CodeRef other_module = code;
  other_module.module[0] ^= 1;
  const auto refused = [](const CodeRef& name) { return test::thrown_text([&] { (void)detail::resolve(name); }); };
  EXPECT_NE(refused(off_by_eight).find("it has no entry of that kind in its table at offset"), std::string::npos);
  EXPECT_NE(refused(other_module).find("no module of that build id is loaded here"), std::string::npos);
  EXPECT_NE(refused(CodeRef{}).find("names nothing"), std::string::npos);
  EXPECT_THROW((void)detail::find_code(code, CodeKind::kernel), FormatError) << "found as another kind";
  EXPECT_THROW((void)detail::resolve(detail::function_ref(reinterpret_cast<std::uintptr_t>(&minus_one))), FormatError)
      << "a function is no entry of the table";
}

TEST(CodeTest, FunctionsAreNamedByTheirPlaceInCode) {
  const auto address = reinterpret_cast<std::uintptr_t>(&minus_one);
  const CodeRef code = detail::function_ref(address);
  EXPECT_EQ(detail::resolve_function(code), address);
  EXPECT_EQ(code.module, some_trampoline().code().module) << "both are in this program";
  const auto library_function = reinterpret_cast<std::uintptr_t>(::dlsym(RTLD_DEFAULT, "strtol"));
  EXPECT_NE(detail::function_ref(library_function).module, code.module);
  EXPECT_EQ(detail::resolve_function(detail::function_ref(library_function)), library_function);
}

TEST(CodeTest, WhatIsNoCodeIsNoFunction) {
  static int variable = 0;
  EXPECT_THROW((void)detail::function_ref(reinterpret_cast<std::uintptr_t>(&variable)), std::logic_error);
  EXPECT_THROW((void)detail::function_ref(0), std::logic_error);
  void* const generated = ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(generated, MAP_FAILED);
  EXPECT_THROW((void)detail::function_ref(reinterpret_cast<std::uintptr_t>(generated)), std::logic_error);
  ::munmap(generated, 4096);
  // A place in the module, but among its data; before it; and far behind it.
  for (const std::uint64_t offset : {some_trampoline().code().offset, ~std::uint64_t{0}, std::uint64_t{1} << 46}) {
    CodeRef code = some_trampoline().code();
    code.offset = offset;
    EXPECT_THROW((void)detail::resolve_function(code), FormatError) << offset;
  }
  EXPECT_THROW((void)detail::resolve_function(CodeRef{}), FormatError);
}

TEST(CodeTest, AModuleBringsItsEntriesAndTakesThemAway) {
  void* const module = ::dlopen(RUNRIG_CALL_MODULE, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(module, nullptr) << ::dlerror();
  const auto make = reinterpret_cast<test::ModuleCall>(::dlsym(module, "runrig_test_module_call"));
  ASSERT_NE(make, nullptr);
  std::vector<std::byte> bytes;
  make(6, bytes);
  const auto wire = detail::CallWire::read(bytes);
  EXPECT_NE(wire.code.module, some_trampoline().code().module);
  std::vector<std::byte> result;
  wire.invoke(result);
  EXPECT_EQ(pickle::loads(result).as_int(), 3006);
  ASSERT_EQ(::dlclose(module), 0);
  // Whether it is really gone is the linker's choice: what is "unique" keeps its module.
  void* const still_here = ::dlopen(RUNRIG_CALL_MODULE, RTLD_NOW | RTLD_NOLOAD);
  if (still_here != nullptr) GTEST_SKIP() << "this compiler's modules stay loaded";
  EXPECT_THROW(wire.invoke(result), FormatError);
}

TEST(CodeTest, AnEntryThatTwoModulesShareStaysUntilTheLastIsGone) {
  static constinit detail::CodeEntry entry(CodeKind::kernel);
  {
    const detail::CodeRegistration first(entry);
    {
      const detail::CodeRegistration second(entry);
      EXPECT_EQ(&detail::find_code(entry.code(), CodeKind::kernel), &entry);
    }
    EXPECT_EQ(&detail::find_code(entry.code(), CodeKind::kernel), &entry);
  }
  EXPECT_THROW((void)detail::find_code(entry.code(), CodeKind::kernel), FormatError);
}

TEST(CodeTest, ThreadsFindCodeWhileModulesComeAndGo) {
  std::atomic<bool> stop{false};
  std::atomic<int> rounds{0};
  std::thread loader([&] {
    for (; !stop.load(); ++rounds) {
      void* const module = ::dlopen(RUNRIG_CALL_MODULE, RTLD_NOW | RTLD_LOCAL);
      if (module == nullptr) return;
      ::dlclose(module);
    }
  });
  const CodeRef function = detail::function_ref(reinterpret_cast<std::uintptr_t>(&minus_one));
  const bool done = test::eventually([&] {
    for (int i = 0; i < 100; ++i) {
      EXPECT_EQ(&detail::resolve(some_trampoline().code()), &some_trampoline());
      EXPECT_EQ(detail::resolve_function(function), reinterpret_cast<std::uintptr_t>(&minus_one));
    }
    return rounds.load() >= 100;
  });
  stop = true;
  loader.join();
  EXPECT_TRUE(done) << rounds << " rounds";
}

TEST(CodeTest, CodeIsNamedByAddressWhereTheModulesOfTheSenderAreKnown) {
  const auto sender = detail::ModuleSnapshot::from_object(detail::ModuleSnapshot::of_this_process().to_object());
  const auto address = reinterpret_cast<std::uintptr_t>(&some_trampoline());
  EXPECT_EQ(sender.name(address), some_trampoline().code());
  detail::ForeignCode code(sender);
  for (int i = 0; i < 2; ++i) {  // the second time it is remembered
    EXPECT_EQ(&code.entry(address, CodeKind::call), &some_trampoline());
    EXPECT_EQ(code.function(reinterpret_cast<std::uintptr_t>(&minus_one)),
              reinterpret_cast<std::uintptr_t>(&minus_one));
  }
  EXPECT_EQ(code.function(0), 0U);
  int local = 0;
  for (const std::uintptr_t wrong : {address + 8, reinterpret_cast<std::uintptr_t>(&local), std::uintptr_t{0}}) {
    EXPECT_THROW((void)code.entry(wrong, CodeKind::call), FormatError);
  }
  EXPECT_THROW((void)code.entry(address, CodeKind::kernel), FormatError);
  EXPECT_THROW((void)code.function(address), FormatError) << "an entry is data, not a function";
}

struct BuildCase {
  const char* label;
  const char* program;
};
class CodeAcrossProcessesTest : public ::testing::TestWithParam<BuildCase> {};

TEST_P(CodeAcrossProcessesTest, CallsRunInAProcessThatExecutesTheProgramAnew) {
  if (std::strlen(GetParam().program) == 0) GTEST_SKIP() << "this toolchain cannot link it so";
  const auto result = test::run_command({GetParam().program, RUNRIG_CALL_MODULE});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_NE(result.out.find("13 calls"), std::string::npos) << result.out;
  if (std::string_view(GetParam().label) == "position_independent") {
    EXPECT_EQ(result.out.find(" 0 at another address"), std::string::npos) << "nothing was shown: " << result.out;
  }
}

INSTANTIATE_TEST_SUITE_P(Builds, CodeAcrossProcessesTest,
                         ::testing::Values(BuildCase{"position_independent", RUNRIG_CALL_PROGRAM_pie},
                                           BuildCase{"fixed_address", RUNRIG_CALL_PROGRAM_fixed},
                                           BuildCase{"without_build_id", RUNRIG_CALL_PROGRAM_no_id},
                                           BuildCase{"folded_functions", RUNRIG_CALL_PROGRAM_folded}),
                         [](const auto& each) { return std::string(each.param.label); });

}  // namespace
}  // namespace runrig
