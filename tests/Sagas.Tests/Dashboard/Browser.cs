using System.Collections.Concurrent;
using Microsoft.Playwright;
using Xunit;

namespace Sagas.Tests.Dashboard;

/// <summary>The example with its traffic, the dashboard that it serves, and a real Chromium: started once for all stories.</summary>
public sealed class Browser : IAsyncLifetime
{
    private static readonly string[] Flags =
    [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ];
    private readonly string _data = Directory.CreateTempSubdirectory("sagas-dashboard").FullName;
    private RunningProgram? _trip;
    private IPlaywright? _playwright;
    private IBrowser? _browser;

    /// <summary>To the server, without a browser.</summary>
    public HttpClient Http => _trip!.Http;

    public string Url => Http.BaseAddress!.ToString();

    public async ValueTask InitializeAsync()
    {
        _trip = await RunningProgram.StartAsync("Trip.dll", "Trip books trips at ", "--data", _data, "--urls", "http://127.0.0.1:0", "--traffic", "20",
            // A verification is to show its end, not to look at everything: the explorer's own tests do.
            "--Sagas:Verify:TimeLimit", "00:00:05");
        // On a machine with much else to do a page may take its time; what is right is seen as soon as it is there.
        Assertions.SetDefaultExpectTimeout(30_000);
        _playwright = await Playwright.CreateAsync();
        _browser = await _playwright.Chromium.LaunchAsync(new() { ExecutablePath = Executable(), Args = Flags });
    }

    /// <summary>A page of its own, as if of another person.</summary>
    public async Task<Visit> VisitAsync(string hash, int width = 1280, int height = 900, bool dark = false)
    {
        var context = await _browser!.NewContextAsync(new()
        {
            ViewportSize = new() { Width = width, Height = height }, ColorScheme = dark ? ColorScheme.Dark : ColorScheme.Light, ReducedMotion = ReducedMotion.Reduce, Locale = "en-GB",
        });
        context.SetDefaultTimeout(30_000);
        var visit = new Visit(context, await context.NewPageAsync(), Url);
        await visit.Page.GotoAsync(Url + hash);
        return visit;
    }

    public async ValueTask DisposeAsync()
    {
        if (_browser is not null) await _browser.DisposeAsync();
        _playwright?.Dispose();
        if (_trip is not null) await _trip.DisposeAsync();
        Directory.Delete(_data, recursive: true);
    }

    private static string Executable()
    {
        var folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Append("/usr/bin");
        return folders.SelectMany(folder => new[] { "chromium", "chromium-browser", "google-chrome" }.Select(name => Path.Combine(folder, name))).FirstOrDefault(File.Exists)
            ?? throw new InvalidOperationException("The dashboard's tests need Chromium on the PATH. On Debian and Ubuntu: apt-get install chromium.");
    }
}

/// <summary>One page, and everything that went wrong on it: errors, violations of the page's policy, requests to anywhere else.</summary>
public sealed class Visit : IAsyncDisposable
{
    private readonly IBrowserContext _context;
    private readonly ConcurrentQueue<string> _wrongs = new();

    public Visit(IBrowserContext context, IPage page, string home)
    {
        _context = context;
        Page = page;
        page.PageError += (_, error) => _wrongs.Enqueue("error: " + error);
        page.Console += (_, message) =>
        {
            // What the server refuses on purpose is a line of the console too.
            if (message.Type is "error" or "warning" && !message.Text.StartsWith("Failed to load resource", StringComparison.Ordinal)) _wrongs.Enqueue($"console {message.Type}: {message.Text}");
        };
        page.Request += (_, request) =>
        {
            if (!request.Url.StartsWith(home, StringComparison.Ordinal) && !request.Url.StartsWith("data:", StringComparison.Ordinal)) _wrongs.Enqueue("request elsewhere: " + request.Url);
        };
    }

    public IPage Page { get; }

    /// <summary>What went wrong so far.</summary>
    public string[] Wrongs => [.. _wrongs];

    public ILocator Text(string text) => Page.GetByText(text);

    public ILocator Button(string name) => Page.GetByRole(AriaRole.Button, new() { NameString = name });

    public ILocator Field(string label) => Page.GetByLabel(label);

    public ValueTask DisposeAsync() => new(_context.CloseAsync());
}
