using System.Collections.Frozen;
using System.IO.Compression;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Sagas.AspNetCore;

/// <summary>
/// The dashboard at <c>/</c>: the built files of <c>dashboards/web</c>, embedded in this assembly, so that they are where it is. The page links to them
/// relatively and keeps its own place in the hash: it works as it is under any path base, and no other path is taken.
/// </summary>
internal static class DashboardFiles
{
    /// <summary>Nothing from elsewhere, no inline script or style, in nobody's frame.</summary>
    public const string Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; worker-src 'self'; connect-src 'self'; "
        + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    // A host that has a page of its own at / keeps it.
    private const int Last = 1000;

    private const string Prefix = "dashboard/";

    private static readonly FrozenDictionary<string, Lazy<BuiltFile>> Built = typeof(DashboardFiles).Assembly.GetManifestResourceNames()
        .Where(name => name.StartsWith(Prefix, StringComparison.Ordinal))
        .ToFrozenDictionary(name => name[Prefix.Length..].Replace('\\', '/'), name => new Lazy<BuiltFile>(() => BuiltFile.Of(name)));

    private static readonly FrozenDictionary<string, string> Types = new Dictionary<string, string>
    {
        [".html"] = "text/html; charset=utf-8", [".js"] = "text/javascript; charset=utf-8", [".css"] = "text/css; charset=utf-8", [".svg"] = "image/svg+xml",
        [".png"] = "image/png", [".ico"] = "image/x-icon", [".json"] = "application/json", [".map"] = "application/json", [".woff2"] = "font/woff2", [".txt"] = "text/plain; charset=utf-8",
        [".webmanifest"] = "application/manifest+json", [".wasm"] = "application/wasm",
    }.ToFrozenDictionary();

    private const string NotBuilt = """
        <!DOCTYPE html>
        <html lang="en">
        <head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Sagas</title></head>
        <body>
          <h1>The API runs; the dashboard was not built</h1>
          <p>Install Node 20.19 or later and build the server again (<code>dotnet build</code>, without <code>-p:SkipDashboard=true</code>): that builds <code>dashboards/web</code> and puts it here.</p>
          <p>Meanwhile: <a href="swagger/index.html">every call to try</a>, <a href="health/ready">health</a>, <a href="metrics">metrics</a>.</p>
        </body>
        </html>
        """;

    /// <summary>Maps the page and each of its files.</summary>
    public static void Map(IEndpointRouteBuilder all, Func<RequestDelegate, RequestDelegate> guard)
    {
        string[] reading = ["GET", "HEAD"];
        all.MapMethods("/", reading, guard(PageAsync)).WithDisplayName("GET / (dashboard)").WithOrder(Last);
        foreach (var (path, file) in Built)
            all.MapMethods("/" + path, reading, guard(http => FileAsync(http, path, file.Value))).WithDisplayName($"GET /{path}").WithOrder(Last);
    }

    private static Task PageAsync(HttpContext http)
    {
        // The page's links are relative to its directory: without the slash at the end they would lead beside it.
        var path = http.Request.PathBase.Add(http.Request.Path).ToUriComponent();
        if (!path.EndsWith('/'))
        {
            http.Response.Redirect(path + "/" + http.Request.QueryString);
            return Task.CompletedTask;
        }
        if (Built.TryGetValue("index.html", out var page)) return FileAsync(http, "index.html", page.Value);
        Protect(http);
        return Answer.TextAsync(http, NotBuilt, "text/html");
    }

    private static async Task FileAsync(HttpContext http, string path, BuiltFile file)
    {
        Protect(http);
        var headers = http.Response.Headers;
        // Vite puts a hash of the content into the names under assets/: what has such a name never changes. All else is asked for again.
        headers.CacheControl = path.StartsWith("assets/", StringComparison.Ordinal) ? "public, max-age=31536000, immutable" : "no-cache";
        headers.ETag = file.Tag;
        headers.Vary = "Accept-Encoding";
        if (http.Request.Headers.IfNoneMatch.ToString().Contains(file.Tag, StringComparison.Ordinal))
        {
            http.Response.StatusCode = StatusCodes.Status304NotModified;
            return;
        }
        http.Response.ContentType = Types.GetValueOrDefault(Path.GetExtension(path), "application/octet-stream");
        var packed = file.Packed is not null && http.Request.Headers.AcceptEncoding.ToString().Contains("gzip", StringComparison.OrdinalIgnoreCase);
        if (packed) headers.ContentEncoding = "gzip";
        var bytes = packed ? file.Packed! : file.Bytes;
        http.Response.ContentLength = bytes.Length;
        if (!HttpMethods.IsHead(http.Request.Method)) await http.Response.Body.WriteAsync(bytes, http.RequestAborted);
    }

    private static void Protect(HttpContext http)
    {
        http.Response.Headers.ContentSecurityPolicy = Policy;
        http.Response.Headers["Referrer-Policy"] = "no-referrer";
        http.Response.Headers["Cross-Origin-Opener-Policy"] = "same-origin";
    }

    /// <summary>A file as it is sent, packed once at its first request; <c>Packed</c> is null where that saves nothing.</summary>
    private sealed record BuiltFile(byte[] Bytes, byte[]? Packed, string Tag)
    {
        public static BuiltFile Of(string resource)
        {
            using var stream = typeof(DashboardFiles).Assembly.GetManifestResourceStream(resource)!;
            var bytes = new byte[stream.Length];
            stream.ReadExactly(bytes);
            using var packed = new MemoryStream();
            using (var gzip = new GZipStream(packed, CompressionLevel.Optimal, leaveOpen: true)) gzip.Write(bytes);
            return new BuiltFile(bytes, packed.Length < bytes.Length * 9 / 10 ? packed.ToArray() : null, $"\"{Convert.ToHexStringLower(SHA256.HashData(bytes))[..20]}\"");
        }
    }
}
