using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Text.Json;
using System.Text.RegularExpressions;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Examples;

/// <summary>The example as its reader runs it: four processes, and servers of its own.</summary>
public sealed partial class OrdersTests
{
    [Fact]
    public async Task Orders_end_though_a_service_is_killed_and_everything_it_started_is_stopped()
    {
        var start = RunningProgram.How("Orders.dll", "--port", "0", "--orders", "60", "--kill");
        start.RedirectStandardInput = true;
        using var orders = Process.Start(start)!;
        orders.StandardInput.Close();       // nobody is there to stop it
        var error = orders.StandardError.ReadToEndAsync();
        var output = await orders.StandardOutput.ReadToEndAsync() + await error;
        await orders.WaitForExitAsync();
        orders.ExitCode.ShouldBe(0, output);
        output.ShouldContain("60 orders in ");
        output.ShouldContain("42 completed, 18 compensated");
        output.ShouldContain("(payment)");
        output.ShouldContain("payment is back");
        output.ShouldContain("Everything adds up.");
        ShouldHaveStopped(output);
    }

    [Fact]
    public async Task Asked_to_stop_among_orders_it_stops_what_it_started()
    {
        await using var orders = await RunningProgram.StartAsync(WithOpenInput("--port", "0", "--orders", "100000"), "Orders is at ");
        await SomeEndAsync(orders.Http);
        (await orders.StopAsync()).ShouldBe(0, orders.Output);
        ShouldHaveStopped(orders.Output);
    }

    [Fact]
    public async Task Killed_it_takes_with_it_what_it_started()
    {
        await using var orders = await RunningProgram.StartAsync(WithOpenInput("--port", "0", "--orders", "100000"), "Orders is at ");
        await SomeEndAsync(orders.Http);
        await orders.KillAsync();
        foreach (var pid in Pids(orders.Output)) await EndsAsync(pid);
        Directory.Delete(DataIn(orders.Output), recursive: true);
    }

    [Fact]
    public async Task Without_the_servers_it_says_how_to_install_them()
    {
        var start = RunningProgram.How("Orders.dll");
        start.FileName = Environment.GetEnvironmentVariable("PATH")!.Split(Path.PathSeparator).Select(folder => Path.Combine(folder, "dotnet")).First(File.Exists);
        start.Environment["PATH"] = AppContext.BaseDirectory;
        var (code, output) = await RunningProgram.RunAsync(start);
        code.ShouldBe(1);
        output.ShouldContain("Orders needs redis-server");
        output.ShouldContain("sudo apt-get install -y redis-server rabbitmq-server");
    }

    [Theory]
    [InlineData("Inventory", "Sagas.Redis")]
    [InlineData("Payment", "Sagas.Redis")]
    [InlineData("Shipping")]
    public void A_services_program_knows_nothing_of_the_engine(string service, params string[] besides)
    {
        using var file = new PEReader(File.OpenRead(Path.Combine(AppContext.BaseDirectory, $"Orders.{service}.dll")));
        var code = file.GetMetadataReader();
        code.AssemblyReferences.Select(r => code.GetString(code.GetAssemblyReference(r).Name)).Where(name => name.StartsWith("Sagas", StringComparison.Ordinal) || name.StartsWith("Orders", StringComparison.Ordinal))
            .ShouldBe(["Orders.Contracts", "Sagas.MassTransit", "Sagas.Participants", .. besides], ignoreOrder: true);
    }

    private static ProcessStartInfo WithOpenInput(params string[] arguments)
    {
        var start = RunningProgram.How("Orders.dll", arguments);
        start.RedirectStandardInput = true;
        return start;
    }

    private static async Task SomeEndAsync(HttpClient http)
    {
        while (true)
        {
            var counts = await http.GetFromJsonAsync<JsonElement>("/api/v1/sagas/counts");
            if (counts.GetProperty("byStatus").GetProperty("Completed").GetInt64() > 3) return;
        }
    }

    private static void ShouldHaveStopped(string output)
    {
        output.TrimEnd().ShouldEndWith("Everything is stopped.");
        Pids(output).Where(IsRunning).ShouldBeEmpty();
        Directory.Exists(DataIn(output)).ShouldBeFalse();
    }

    private static int[] Pids(string output)
    {
        int[] pids = [.. PidPattern().Matches(output).Select(match => int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture)).Distinct()];
        pids.Length.ShouldBeGreaterThanOrEqualTo(7, output);
        return pids;
    }

    private static string DataIn(string output) => DataPattern().Match(output) is { Success: true } match ? match.Groups[1].Value : throw new InvalidOperationException(output);

    private static bool IsRunning(int pid)
    {
        try
        {
            using var process = Process.GetProcessById(pid);
            return !process.HasExited;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }

    private static async Task EndsAsync(int pid)
    {
        try
        {
            using var process = Process.GetProcessById(pid);
            await process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(30));
        }
        catch (ArgumentException)
        {
            // It has ended.
        }
    }

    [GeneratedRegex(@"\(pid (\d+)\)")]
    private static partial Regex PidPattern();

    [GeneratedRegex(@"with their data in (\S+)\. ")]
    private static partial Regex DataPattern();
}
