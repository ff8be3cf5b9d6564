using Shouldly;
using Xunit;

namespace Sagas.Tests.Examples;

/// <summary>The example as its reader runs it.</summary>
public sealed class BankTests : IDisposable
{
    private readonly string _data = Directory.CreateTempSubdirectory("bank-").FullName;

    [Fact]
    public async Task Two_banks_and_a_bad_network_end_with_money_that_adds_up()
    {
        var (code, output) = await RunningProgram.RunAsync("Bank.dll", "--data", _data, "--port", "0", "--transfers", "150");
        code.ShouldBe(0, output);
        output.ShouldContain("150 sagas in all: ");
        output.ShouldContain(" lost their reply; ");
        output.TrimEnd().ShouldEndWith("The money adds up.");
    }

    [Fact]
    public async Task Without_node_it_says_what_is_missing()
    {
        var start = RunningProgram.How("Bank.dll", "--data", _data, "--port", "0");
        start.FileName = Environment.ProcessPath is { } path && Path.GetFileNameWithoutExtension(path) == "dotnet" ? path : Dotnet();
        start.Environment["PATH"] = _data;
        var (code, output) = await RunningProgram.RunAsync(start);
        code.ShouldBe(1);
        output.ShouldContain("The payee's bank needs node");
    }

    public void Dispose() => Directory.Delete(_data, recursive: true);

    private static string Dotnet() => Environment.GetEnvironmentVariable("PATH")!.Split(Path.PathSeparator).Select(folder => Path.Combine(folder, "dotnet")).First(File.Exists);
}
