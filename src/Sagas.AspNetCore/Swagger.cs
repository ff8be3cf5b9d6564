using System.IO.Compression;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.FileProviders;
using Swashbuckle.AspNetCore.SwaggerUI;

namespace Sagas.AspNetCore;

/// <summary>The API's page at <c>/swagger</c>: Swagger UI's own files, as Swashbuckle embeds them, around our document. Everything comes from this host.</summary>
internal static class Swagger
{
    private static readonly IFileProvider Dist = new EmbeddedFileProvider(typeof(SwaggerUIOptions).Assembly, "Swashbuckle.AspNetCore.SwaggerUI.node_modules.swagger_ui_dist");

    private const string Page = """
        <!DOCTYPE html>
        <html lang="en">
        <head>
          <meta charset="utf-8">
          <meta name="viewport" content="width=device-width, initial-scale=1">
          <title>Sagas API</title>
          <link rel="stylesheet" href="swagger-ui.css">
          <link rel="icon" type="image/png" href="favicon-32x32.png" sizes="32x32">
        </head>
        <body>
          <div id="swagger-ui"></div>
          <script src="swagger-ui-bundle.js"></script>
          <script src="start.js"></script>
        </body>
        </html>
        """;

    private const string Script = """
        window.ui = SwaggerUIBundle({ url: "v1/swagger.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
        """;

    public static readonly (string Path, RequestDelegate Answer)[] Files =
    [
        // To a path from which the page's own links lead right.
        ("/swagger", IndexAsync),
        ("/swagger/index.html", http => TextAsync(http, Page, "text/html")),
        ("/swagger/start.js", http => TextAsync(http, Script, "text/javascript")),
        ("/swagger/swagger-ui.css", http => FileAsync(http, "swagger-ui.css", "text/css")),
        ("/swagger/swagger-ui-bundle.js", http => FileAsync(http, "swagger-ui-bundle.js", "text/javascript")),
        ("/swagger/favicon-32x32.png", http => FileAsync(http, "favicon-32x32.png", "image/png")),
        ("/swagger/v1/swagger.json", DocumentAsync),
    ];

    private static Task IndexAsync(HttpContext http)
    {
        http.Response.Redirect(http.Request.PathBase.Add(http.Request.Path.Value!.TrimEnd('/')).ToUriComponent() + "/index.html");
        return Task.CompletedTask;
    }

    private static Task DocumentAsync(HttpContext http)
    {
        var path = http.Request.PathBase.Add(http.Request.Path).ToUriComponent();
        var root = path[..path.LastIndexOf("/swagger/v1/", StringComparison.OrdinalIgnoreCase)];
        var document = OpenApi.Document(http.Engine().Definitions, root);
        return Answer.JsonAsync(http, 200, json => document.WriteTo(json));
    }

    private static Task TextAsync(HttpContext http, string text, string type)
    {
        // Swagger UI styles its elements itself and draws its icons from data.
        http.Response.Headers.ContentSecurityPolicy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";
        return Answer.TextAsync(http, text, type);
    }

    private static async Task FileAsync(HttpContext http, string name, string type)
    {
        var file = Dist.GetFileInfo(name);
        if (!file.Exists) throw Problem.UnknownRoute(http.Request.Method, http.Request.Path).Thrown();
        http.Response.ContentType = type;
        await using var content = file.CreateReadStream();
        var packed = content.ReadByte() == 0x1f && content.ReadByte() == 0x8b;
        content.Position = 0;
        // Swashbuckle embeds most files packed; nearly every client takes them so.
        if (packed && http.Request.Headers.AcceptEncoding.ToString().Contains("gzip", StringComparison.OrdinalIgnoreCase))
        {
            http.Response.Headers.ContentEncoding = "gzip";
            packed = false;
        }
        await using var bytes = packed ? new GZipStream(content, CompressionMode.Decompress) : content;
        await bytes.CopyToAsync(http.Response.Body, http.RequestAborted);
    }
}
