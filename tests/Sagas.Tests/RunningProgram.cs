using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace Sagas.Tests;

/// <summary>One of our programs, running as a process of its own: found by the address in its banner, ended by its own process id.</summary>
internal sealed class RunningProgram : IAsyncDisposable
{
    private readonly Process _process;
    private readonly string _banner;
    private readonly StringBuilder _output = new();
    private readonly TaskCompletionSource<Uri> _address = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private RunningProgram(ProcessStartInfo start, string banner)
    {
        _banner = banner;
        _process = new Process { StartInfo = start, EnableRaisingEvents = true };
        _process.OutputDataReceived += (_, line) => Heard(line.Data);
        _process.ErrorDataReceived += (_, line) => Heard(line.Data);
        _process.Exited += (_, _) => _address.TrySetException(new InvalidOperationException($"{start.ArgumentList[0]} ended before it listened:\n{Output}"));
        _process.Start();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    /// <summary>To the running program.</summary>
    public HttpClient Http { get; private set; } = null!;

    /// <summary>All it has printed.</summary>
    public string Output
    {
        get { lock (_output) return _output.ToString(); }
    }

    /// <summary>Starts a program that stands beside the tests, and waits until it prints <paramref name="banner"/> and its address.</summary>
    public static Task<RunningProgram> StartAsync(string dll, string banner, params string[] arguments) => StartAsync(How(dll, arguments), banner);

    /// <inheritdoc cref="StartAsync(string, string, string[])"/>
    public static async Task<RunningProgram> StartAsync(ProcessStartInfo start, string banner)
    {
        var program = new RunningProgram(start, banner);
        try
        {
            program.Http = new HttpClient { BaseAddress = await program._address.Task.WaitAsync(TimeSpan.FromSeconds(30)), Timeout = TimeSpan.FromSeconds(60) };
            return program;
        }
        catch
        {
            await program.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs a program to its end; its exit code and what it printed.</summary>
    public static Task<(int Code, string Output)> RunAsync(string dll, params string[] arguments) => RunAsync(How(dll, arguments));

    /// <inheritdoc cref="RunAsync(string, string[])"/>
    public static async Task<(int Code, string Output)> RunAsync(ProcessStartInfo start)
    {
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        var (output, patience) = (process.StandardOutput.ReadToEndAsync(), TimeSpan.FromMinutes(5));
        try
        {
            await Task.WhenAll(output, error, process.WaitForExitAsync()).WaitAsync(patience);
        }
        catch (TimeoutException e)
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"{string.Join(' ', start.ArgumentList)} has not ended after {patience.TotalMinutes} min.\n{await output}{await error}", e);
        }
        return (process.ExitCode, await output + await error);
    }

    public static ProcessStartInfo How(string dll, params string[] arguments) =>
        new("dotnet", [Path.Combine(AppContext.BaseDirectory, dll), .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };

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
        if (line.StartsWith(_banner, StringComparison.Ordinal)) _address.TrySetResult(new Uri(line[_banner.Length..].Split(' ')[0]));
    }

    [DllImport("libc", EntryPoint = "kill")]
    private static extern int Signal(int pid, int signal);
}
