using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace Sagas.Tests.Examples;

/// <summary>The example's program, running: found by the address in its banner, ended by its own process id.</summary>
internal sealed partial class TripProcess : IAsyncDisposable
{
    private const string Banner = "Trip books trips at ";
    private readonly Process _process;
    private readonly StringBuilder _output = new();
    private readonly TaskCompletionSource<Uri> _address = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private TripProcess(string data, int traffic)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in new[] { Program, "--data", data, "--urls", "http://127.0.0.1:0", "--traffic", traffic.ToString(CultureInfo.InvariantCulture) })
            start.ArgumentList.Add(argument);
        _process = new Process { StartInfo = start, EnableRaisingEvents = true };
        _process.OutputDataReceived += (_, line) => Heard(line.Data);
        _process.ErrorDataReceived += (_, line) => Heard(line.Data);
        _process.Exited += (_, _) => _address.TrySetException(new InvalidOperationException($"Trip ended before it listened:\n{Output}"));
        _process.Start();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        Http = null!;
    }

    public static string Program => Path.Combine(AppContext.BaseDirectory, "Trip.dll");

    /// <summary>To the running program.</summary>
    public HttpClient Http { get; private set; }

    /// <summary>All it has printed.</summary>
    public string Output
    {
        get { lock (_output) return _output.ToString(); }
    }

    /// <summary>Starts it and waits until it listens.</summary>
    public static async Task<TripProcess> StartAsync(string data, int traffic)
    {
        var trip = new TripProcess(data, traffic);
        try
        {
            trip.Http = new HttpClient { BaseAddress = await trip._address.Task.WaitAsync(TimeSpan.FromSeconds(30)), Timeout = TimeSpan.FromSeconds(60) };
            return trip;
        }
        catch
        {
            await trip.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs it to its end with the given arguments; its exit code and what it printed.</summary>
    public static async Task<(int Code, string Output)> RunAsync(params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [Program, .. arguments]) { RedirectStandardOutput = true };
        using var process = Process.Start(start)!;
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, output);
    }

    /// <summary>SIGKILL: it gets no chance to do anything.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
    }

    /// <summary>SIGTERM: it stops in its own time. Its exit code.</summary>
    public async Task<int> StopAsync()
    {
        _ = Signal(_process.Id, 15);
        await _process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(30));
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited) await KillAsync();
        Http?.Dispose();
        _process.Dispose();
    }

    private void Heard(string? line)
    {
        if (line is null) return;
        lock (_output) _output.AppendLine(line);
        if (line.StartsWith(Banner, StringComparison.Ordinal)) _address.TrySetResult(new Uri(line[Banner.Length..].Split(' ')[0]));
    }

    [DllImport("libc", EntryPoint = "kill")]
    private static extern int Signal(int pid, int signal);
}
